"""How fast a step was and how much memory it took: the figures of the log that differ from run to run."""

import resource
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch

from caravan.train.flops import flops_of, mfu
from caravan.train.launch import World
from caravan.train.objective import Objective

GIB = 2**30


class Speed:
    """Measures from its making, and then from one `step` to the next."""

    def __init__(self, objective: Objective, world: World) -> None:
        self._flops = flops_of(objective.model, objective.model.config)
        self._world = world
        self._device = torch.cuda.get_device_name(world.device) if world.device.type == "cuda" else "cpu"
        self._last = time.perf_counter()

    def step(self, lengths: Sequence[int]) -> dict[str, Any]:
        """The figures of a step that computed conversations of these lengths, over all ranks.

        `mfu` counts attention within each conversation only (`Flops.by_segments`); null on a device without a known
        peak. `memory_gib` is this rank's peak so far: allocated on a GPU, resident on a CPU.
        """
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        return {
            "seconds": seconds,
            "tokens_per_second_per_gpu": sum(lengths) / seconds / self._world.size,
            "mfu": mfu(self._flops.by_segments(lengths), seconds, self._device, self._world.size),
            "memory_gib": self.peak_gib(),
        }

    def pause(self) -> None:
        """Leave out what happened since the last step: an evaluation, a checkpoint."""
        self._last = time.perf_counter()

    def peak_gib(self) -> float:
        """The largest memory so far, in GiB."""
        if self._world.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._world.device) / GIB
        with (
            suppress(OSError),
            open("/proc/self/status", encoding="ascii") as status,
        ):  # ru_maxrss knows the parent's too
            return next(int(line.split()[1]) * 1024 / GIB for line in status if line.startswith("VmHWM"))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / GIB if sys.platform == "darwin" else peak * 1024 / GIB
