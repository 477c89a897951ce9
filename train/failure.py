"""A loss that is not finite: the run stops before the weights are touched, and says which rows did it."""

import json
import math
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor

from caravan.errors import UserError
from caravan.train.loader import Bin
from caravan.train.objective import Objective

FAILED = "failed.json"

if TYPE_CHECKING:
    from caravan.train.checkpoint import Checkpoints
    from caravan.train.launch import World
    from caravan.train.prepare import Data


def stop_on(
    step: int,
    bins: list[Bin],
    losses: Tensor,
    data: "Data",
    checkpoints: "Checkpoints",
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    world: "World",
) -> NoReturn:
    """Save the weights as they were before the step, write `failed.json` with its bad bins, and raise `UserError`.

    Collective: every rank raises. `train replay RUN` computes the rows of that file again, one by one.
    """
    bins_here: list[dict[str, Any]] = [
        {
            "rank": world.rank,
            "round": n,
            "rows": [item * objective.group + k for item in items for k in range(objective.group)],
        }
        for n, items in enumerate(bins)
        if items
    ]
    bad = [entry for entry in bins_here if not math.isfinite(losses[entry["round"]])]
    everywhere = _of_all_ranks(bad, world)
    by_loss = bool(everywhere)
    if not by_loss:  # the gradient alone is not finite: any of the step's rows may have done it
        everywhere = _of_all_ranks(bins_here, world)
    optimizer.zero_grad()
    checkpoints.save(step, objective, optimizer)
    checkpoints.wait()
    for entry in everywhere:
        entry["row_ids"] = [data.tokens.row_ids[row] for row in entry["rows"]]
    folder = checkpoints.folder.parent
    if not world.rank:
        report = {"step": step + 1, "bins": everywhere}
        (folder / FAILED).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    where = f"{folder}, step {step + 1}"
    if not by_loss:
        raise UserError(
            "the gradient is not finite, though every loss is",
            where=where,
            fix=f"see which row does it with `train replay {folder}`; the weights before the step are saved",
        )
    first = everywhere[0]
    named = ", ".join(first["row_ids"][:3])
    more = f" and {len(first['row_ids']) - 3} more" if len(first["row_ids"]) > 3 else ""
    raise UserError(
        f"the loss is not finite on rank {first['rank']}, bin {first['round']}: rows {named}{more}",
        where=where,
        fix=f"see which with `train replay {folder}`; the weights before the step are saved",
    )


def _of_all_ranks(bins: list[dict[str, Any]], world: "World") -> list[dict[str, Any]]:
    return [entry for entries in world.gather(bins) for entry in entries]
