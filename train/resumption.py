"""`train check --resume`: the promise that a broken run ends in the same bits, kept on the user's model and rows."""

import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch
from torch.distributed.tensor import DTensor

from caravan.terminal import Progress
from caravan.train import hub, loop, prepare
from caravan.train.config import TrainConfig
from caravan.train.launch import StopFlag, World, join
from caravan.train.objective import Objective

STEPS = 8


@dataclass(frozen=True)
class Resumed:
    """Hashes of all weights after `steps` steps: in one go, and broken off and gone on with half-way."""

    steps: int
    straight: str
    broken: str

    @property
    def same(self) -> bool:
        """Whether the promise was kept."""
        return self.straight == self.broken


class _StopAfter(StopFlag):
    """Asks for a stop in a certain step."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._left = steps

    def asked(self) -> str | None:
        """A reason once the steps are done; the loop asks once a step."""
        self._left -= 1
        return "half of the steps are done" if self._left <= 0 else None


def prove(config: TrainConfig, progress: Progress) -> Resumed:
    """Train 8 steps in one go; then 4, a new model from the folder, the checkpoint, and 4 more. Compare all weights.

    In this process, or in each of those that torchrun started. Takes twice the time of 8 steps and of loading.
    """
    config = config.model_copy(update={"max_steps": STEPS, "save_every": 0, "eval_every": 10**9, "time_budget": None})
    folder = hub.find_model(config.model)
    with join(config) as world, tempfile.TemporaryDirectory(dir=_beside(config)) as made:
        shared = Path(world.gather(made)[0])
        data = prepare.read_data(config, folder, progress)

        def half(name: str, stop: StopFlag) -> tuple[int, str]:
            told = config.model_copy(update={"out": str(shared / name)})
            (shared / name).mkdir(exist_ok=True)
            objective = prepare.build(told, folder, data, world)
            result = loop.run(told, data, objective, world, stop, Progress(quiet=True))
            return result.steps, digest(objective, world)

        steps, straight = half("straight", StopFlag())
        progress.say(f"{steps} steps in one go: {straight[:12]}")
        stopped, _ = half("broken", _StopAfter(steps // 2))
        _, broken = half("broken", StopFlag())
        progress.say(f"{stopped} steps, a restart, {steps - stopped} more: {broken[:12]}")
        return Resumed(steps, straight, broken)


def _beside(config: TrainConfig) -> Path:
    """Checkpoints go where the run's would: other folders may not be shared by the nodes."""
    parent = Path(config.out).resolve().parent
    parent.mkdir(parents=True, exist_ok=True)
    return parent


def digest(objective: Objective, world: World) -> str:
    """SHA-256 over all whole parameters, in the order of their names. Collective."""
    found = sha256()
    for name, parameter in sorted(objective.named_parameters()):
        whole = parameter.full_tensor() if isinstance(parameter, DTensor) else parameter
        if not world.rank:
            found.update(f"{name} {tuple(whole.shape)} {whole.dtype}\n".encode())
            found.update(whole.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    digests: list[str] = world.gather(found.hexdigest())
    return digests[0]
