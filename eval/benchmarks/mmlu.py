"""MMLU: 57 subjects of four-way multiple choice. Evaluated on test; dev holds the examples, val is not used.

Published as `SUBJECT_test.csv` (question, A, B, C, D, letter; no header) under `test/`; on the hub as Parquet.
Ids are `SUBJECT/test/ROW`, ROW counted from 0 within the subject, as the hub counts.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from caravan.errors import UserError
from caravan.eval.benchmark import Item
from caravan.eval.files import AGAIN, csv_records, locate, rows, text

VERSION = 1
HUB = "cais/mmlu"
LICENCE = "MIT"

LETTERS = "ABCD"


def items(folder: Path) -> Iterator[Item]:
    """The test items, subject by subject in the order of their names."""
    for path in locate(folder, "*_test.csv", "all/test-*.parquet", "test-*.parquet"):
        yield from _hub(path) if path.suffix == ".parquet" else _published(path)


def _published(path: Path) -> Iterator[Item]:
    subject = path.name.removesuffix("_test.csv")
    for number, (where, cells) in enumerate(csv_records(path)):
        if len(cells) != 6 or cells[5].strip() not in LETTERS:
            raise UserError("not a question, four options and one of A, B, C, D", where=where, fix=AGAIN)
        yield _item(subject, number, cells[0], cells[1:5], LETTERS.index(cells[5].strip()))


def _hub(path: Path) -> Iterator[Item]:
    seen = Counter[str]()
    for where, row in rows(path):
        subject, choices, answer = text(row, "subject", where), row.get("choices"), row.get("answer")
        if not isinstance(choices, list) or not isinstance(answer, int) or not 0 <= answer < len(choices):
            raise UserError("not a list of choices and the number of the right one", where=where, fix=AGAIN)
        yield _item(subject, seen[subject], text(row, "question", where), choices, answer)
        seen[subject] += 1


def _item(subject: str, number: int, question: str, choices: list[str], answer: int) -> Item:
    return Item(f"{subject}/test/{number}", question, choices[answer], subject, tuple(choices))
