"""AlpacaEval: 805 instructions without a right answer; what is judged is which of two outputs is better.

Read from the published `alpaca_eval.json` {instruction, dataset}, or from the most complete `model_outputs.json` of
the results, which repeat the instructions. The reference output, which only model outputs know, is not taken. Ids
are `DATASET/ROW`, counted from 0 over the whole list.
"""

from collections.abc import Iterator
from pathlib import Path

from caravan.errors import UserError
from caravan.eval.benchmark import Item
from caravan.eval.files import Row, locate, rows, text

VERSION = 1
HUB = "tatsu-lab/alpaca_eval"
LICENCE = "CC-BY-NC-4.0"


def items(folder: Path) -> Iterator[Item]:
    """The instructions in the published order."""
    for number, (where, row) in enumerate(_rows(folder)):
        dataset = row.get("dataset")
        group = dataset if isinstance(dataset, str) else ""
        yield Item(f"{group}/{number}" if group else str(number), text(row, "instruction", where), group=group)


def _rows(folder: Path) -> list[Row]:
    if any(folder.rglob("alpaca_eval.json")):
        (path, *_) = locate(folder, "alpaca_eval.json")
        return list(rows(path))
    outputs = sorted(folder.rglob("model_outputs.json"))
    if not outputs:
        raise UserError(
            "neither alpaca_eval.json nor a model_outputs.json here",
            where=str(folder),
            fix="put alpaca_eval.json of the hub's tatsu-lab/alpaca_eval into this folder",
        )
    return max((list(rows(path)) for path in outputs), key=len)
