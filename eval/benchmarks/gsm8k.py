"""GSM8K: grade-school mathematics in words. Evaluated on test.jsonl {question, answer}; train is never read.

`answer` is the number after "####". Ids are `test/ROW`, counted from 0.
"""

from collections.abc import Iterator
from pathlib import Path

from caravan.errors import UserError
from caravan.eval.benchmark import Item
from caravan.eval.files import AGAIN, locate, rows, text

VERSION = 1
HUB = "openai/gsm8k"
LICENCE = "MIT"


def items(folder: Path) -> Iterator[Item]:
    """The test problems in the published order."""
    (path, *_) = locate(folder, "test.jsonl", "main/test-*.parquet")
    for number, (where, row) in enumerate(rows(path)):
        _, mark, final = text(row, "answer", where).rpartition("####")
        if not mark:
            raise UserError('the answer has no "####"', where=where, fix=AGAIN)
        yield Item(f"test/{number}", text(row, "question", where), final.strip())
