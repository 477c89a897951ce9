"""HumanEval: 164 Python functions to be written from signature and docstring; `HumanEval.jsonl`, also gzipped.

Ids are the data's own (`HumanEval/3`).
"""

from collections.abc import Iterator
from pathlib import Path

from caravan.eval.benchmark import Item
from caravan.eval.files import locate, rows, text, unique

VERSION = 1
HUB = "openai/openai_humaneval"
LICENCE = "MIT"


def items(folder: Path) -> Iterator[Item]:
    """The prompts in the published order, each with its canonical solution."""
    seen = set[str]()
    (path, *_) = locate(folder, "HumanEval.jsonl", "HumanEval.jsonl.gz", "test-*.parquet")
    for where, row in rows(path):
        name = unique(text(row, "task_id", where), seen)
        yield Item(name, text(row, "prompt", where), text(row, "canonical_solution", where))
