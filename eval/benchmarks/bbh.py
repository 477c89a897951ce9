"""BIG-Bench Hard: 27 tasks, `TASK.json` with {examples: [{input, target}]}; there is one split.

Options, where a task has any, are part of the input. Ids are `TASK/ROW`, counted from 0.
"""

from collections.abc import Iterator
from pathlib import Path

from caravan.errors import UserError
from caravan.eval.benchmark import Item
from caravan.eval.files import entries, json_value, locate, text

VERSION = 1
HUB = "openeval/BIG-Bench-Hard"
LICENCE = "MIT"


def items(folder: Path) -> Iterator[Item]:
    """All items, task by task in the order of their names."""
    found = 0
    for path in locate(folder, "*.json"):
        value = json_value(path)
        if not isinstance(value, dict) or "examples" not in value:
            continue  # such as the list of files that some copies add
        for number, example in enumerate(entries(value, "examples", str(path))):
            where = f"{path}:{number + 1}"
            yield Item(
                f"{path.stem}/{number}", text(example, "input", where), text(example, "target", where), path.stem
            )
            found += 1
    if not found:
        raise UserError("no task file with examples here", where=str(folder), fix="lay out the files of bbh/ there")
