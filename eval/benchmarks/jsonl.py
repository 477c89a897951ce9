"""Any JSON Lines of items: `*.jsonl` in the folder (or one such file), the question under one of the usual keys.

The question is the first of question, prompt, instruction, input, problem, text that is there; a not empty `input`
beside an `instruction` follows it after a blank line. The answer is the first of answer, target, output. Ids are the
rows' own `id`, else FILE:LINE without the ending; a repeated one gets `#2` and so on.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from caravan.errors import UserError
from caravan.eval.benchmark import Item
from caravan.eval.files import locate, rows, text, unique

VERSION = 1
HUB = None
LICENCE = ""

QUESTION = ("question", "prompt", "instruction", "input", "problem", "text")
ANSWER = ("answer", "target", "output")


def items(folder: Path) -> Iterator[Item]:
    """The items of all files in the order of their names, each file in its own order."""
    seen = set[str]()
    for path in [folder] if folder.is_file() else locate(folder, "*.jsonl", "*.jsonl.gz"):
        stem = path.name.split(".jsonl")[0]
        for where, row in rows(path):
            own_id = str(row["id"]) if row.get("id") not in (None, "") else f"{stem}:{where.rpartition(':')[2]}"
            choices = row.get("choices")
            yield Item(
                unique(own_id, seen),
                _question(row, where),
                next((str(row[key]) for key in ANSWER if row.get(key) is not None), ""),
                choices=tuple(map(str, choices)) if isinstance(choices, list) else (),
            )


def _question(row: dict[str, Any], where: str) -> str:
    key = next((key for key in QUESTION if row.get(key) is not None), None)
    if key is None:
        raise UserError(f"no question: none of {', '.join(QUESTION)}", where=where, fix="name the question so")
    question = text(row, key, where)
    more = row.get("input")
    if key == "instruction" and isinstance(more, str) and more.strip():
        return f"{question}\n\n{more}"
    return question
