"""ToxiGen: prompts that lead a model towards hateful or neutral sentences about 13 groups, one prompt a line.

`hate_GROUP_1k.txt` and `neutral_GROUP_1k.txt`; the two characters backslash and n inside a line stand for a line
break. Ids are `FILE/ROW`, counted from 0, without the ending of the file.
"""

from collections.abc import Iterator
from pathlib import Path

from caravan.eval.benchmark import Item
from caravan.eval.files import lines, locate

VERSION = 1
HUB = None
LICENCE = "Microsoft Research License"


def items(folder: Path) -> Iterator[Item]:
    """All prompts, file by file in the order of their names; `group` is the group of people they are about."""
    paths = locate(folder, "hate_*.txt") + locate(folder, "neutral_*.txt")
    for path in paths:
        group = path.stem.partition("_")[2].removesuffix("_1k")
        for number, (_, line) in enumerate(lines(path)):
            yield Item(f"{path.stem}/{number}", line.replace("\\n", "\n"), group=group)
