"""Computes the rows of a failed step again, one by one, with the weights that they met."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from caravan.errors import UserError
from caravan.terminal import Progress
from caravan.train import checkpoint, hub, prepare
from caravan.train.config import load
from caravan.train.dpo import Dpo
from caravan.train.failure import FAILED
from caravan.train.launch import join
from caravan.train.loader import batch_of


@dataclass(frozen=True)
class Replayed:
    """One item of a bad bin, computed alone: its loss and the largest absolute gradient it gives."""

    row_ids: list[str]
    tokens: int
    loss: float
    largest_gradient: float

    @property
    def finite(self) -> bool:
        """Whether loss and gradient are finite."""
        return math.isfinite(self.loss) and math.isfinite(self.largest_gradient)


def replay(run: Path, progress: Progress) -> list[Replayed]:
    """Every item of the bins that `failed.json` names, each alone, in one process.

    Raises `UserError` where the run did not fail, or its checkpoint from before the step is gone.
    """
    try:
        failed = json.loads((run / FAILED).read_text(encoding="utf-8"))
        step, bins = int(failed["step"]) - 1, [list(map(int, entry["rows"])) for entry in failed["bins"]]
    except FileNotFoundError:
        raise UserError(
            f"no {FAILED}: no step of it failed", where=str(run), fix="name the folder of a failed run"
        ) from None
    except (ValueError, KeyError, TypeError, OverflowError):
        raise UserError("not what a failed run writes", where=str(run / FAILED), fix="run it again") from None
    config = load(str(run / "train.toml"), {"nproc": 1, "replicas": 1}, None)
    folder = hub.find_model(config.model)
    with join(config) as world:
        data = prepare.read_data(config, folder, progress)
        objective = prepare.build(config, folder, data, world)
        if isinstance(objective, Dpo):
            prepare.refer(objective, data, config, folder, world, progress)
        path = run / "checkpoints" / f"step-{step}"
        if not path.is_dir():
            raise UserError("the weights before the failed step are gone", where=str(path), fix="run it again")
        same = "put back the data and the model that it was trained with"
        checkpoint.check_identity(path, prepare.identity(config, data), world, fix=same)
        checkpoint.read(path, objective, None, world)
        found = []
        for rows in bins:
            for start in range(0, len(rows), objective.group):
                item = rows[start : start + objective.group]
                batch = batch_of(data.tokens, item, world.device)
                outcome = objective(batch, 1 / objective.weights(data.tokens)[item[0] // objective.group])
                outcome.loss.backward()
                largest = max(float(p.grad.abs().max()) for p in objective.parameters() if p.grad is not None)
                objective.zero_grad()
                ids = [data.tokens.row_ids[row] for row in item]
                found.append(Replayed(ids, batch.tokens, float(outcome.loss.detach()), largest))
        return found
