"""TruthfulQA: questions that people often answer wrongly, `TruthfulQA.csv`; there is one split.

Two versions are in use: v1 (817 questions, `v1/TruthfulQA.csv`, also the hub's), which published scores mean, and
an update (790). v1 is taken where both lie. Ids are `v1/ROW` and `v2/ROW`, counted from 0.
"""

from collections.abc import Iterator
from pathlib import Path

from caravan.errors import UserError
from caravan.eval.benchmark import Item
from caravan.eval.files import AGAIN, csv_records, locate, rows, text

VERSION = 1
HUB = "truthfulqa/truthful_qa"
LICENCE = "Apache-2.0"

NEEDED = ("Category", "Question", "Best Answer")


def items(folder: Path) -> Iterator[Item]:
    """The questions in the published order, each with its best answer."""
    (path, *_) = locate(folder, "v1/TruthfulQA.csv", "TruthfulQA.csv", "generation/validation-*.parquet")
    if path.suffix == ".parquet":
        for number, (where, row) in enumerate(rows(path)):
            question, answer = text(row, "question", where), text(row, "best_answer", where)
            yield Item(f"v1/{number}", question, answer, text(row, "category", where))
        return
    records = csv_records(path)
    _, header = next(records, ("", []))
    if missing := [name for name in NEEDED if name not in header]:
        raise UserError(f"no column {', '.join(missing)}", where=str(path), fix=AGAIN)
    version = "v2" if "Best Incorrect Answer" in header else "v1"
    for number, (where, cells) in enumerate(records):
        if len(cells) != len(header):
            raise UserError(f"{len(cells)} cells under a header of {len(header)}", where=where, fix=AGAIN)
        category, question, answer = (cells[header.index(name)] for name in NEEDED)
        yield Item(f"{version}/{number}", question, answer, category)
