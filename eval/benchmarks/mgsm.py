"""MGSM: the first 250 test problems of GSM8K, translated by people into ten languages; `mgsm_LANG.tsv`.

Two columns, question and number, without header and without quoting. Ids are `LANG/ROW`, counted from 0.
"""

from collections.abc import Iterator
from pathlib import Path

from caravan.errors import UserError
from caravan.eval.benchmark import Item
from caravan.eval.files import AGAIN, lines, locate

VERSION = 1
HUB = "juletxara/mgsm"
LICENCE = "CC-BY-SA-4.0"


def items(folder: Path) -> Iterator[Item]:
    """All problems, language by language in the order of their codes."""
    for path in locate(folder, "mgsm_*.tsv"):
        language = path.stem.removeprefix("mgsm_")
        for number, (where, line) in enumerate(lines(path)):
            cells = line.split("\t")
            if len(cells) != 2:
                raise UserError(f"{len(cells)} columns, not a question and a number", where=where, fix=AGAIN)
            yield Item(f"{language}/{number}", cells[0], cells[1].strip(), language)
