"""IFEval: 541 prompts whose instructions a program can check; `input_data.jsonl`; there is one split.

Ids are the data's own keys.
"""

from collections.abc import Iterator
from pathlib import Path

from caravan.errors import UserError
from caravan.eval.benchmark import Item
from caravan.eval.files import AGAIN, locate, rows, text, unique

VERSION = 1
HUB = "google/IFEval"
LICENCE = "Apache-2.0"


def items(folder: Path) -> Iterator[Item]:
    """The prompts in the published order; there is no gold answer."""
    seen = set[str]()
    (path, *_) = locate(folder, "input_data.jsonl", "ifeval_input_data.jsonl")
    for where, row in rows(path):
        if "key" not in row:
            raise UserError("'key' is missing", where=where, fix=AGAIN)
        yield Item(unique(str(row["key"]), seen), text(row, "prompt", where))
