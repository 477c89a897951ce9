"""From a step's bytes by phase to what a GPU, or a process on the CPU, has to have."""

from dataclasses import dataclass, replace

from transformers import PretrainedConfig

from caravan.train.closed_form import EMBEDDING, LOSS, OPTIMIZER, Parts, Sizes, estimate, sizes
from caravan.train.config import TrainConfig

GIB = 2**30
CONTEXT = 0.6 * GIB  # what CUDA keeps for itself in every process: 0.5 to 0.7 on A100 and H100
NCCL = 1.0 * GIB  # its buffers, where there is more than one GPU
MARGIN = 0.08  # of what is allocated: fragments of the caching allocator, 5 to 10 %
LIBRARIES = 0.45 * GIB  # of a process on the CPU: torch, transformers and the rest of it
HEAP = 0.10  # what the C library keeps of memory that was given back: 3 to 20 % measured in runs of 0.5 to 1.4 GiB

Phases = dict[str, Parts]


@dataclass(frozen=True)
class Setting:
    """What a need follows from. `name` is the model's, for people."""

    name: str
    config: PretrainedConfig
    run: TrainConfig
    gpus: int

    @property
    def accumulates(self) -> bool:
        """Whether a GPU computes several bins before an update."""
        return self.run.batch_size > self.gpus


@dataclass(frozen=True)
class Need:
    """Memory of one GPU at the moment when it is largest, in bytes. `host` is what it keeps in CPU memory beside."""

    when: str
    parts: Parts
    context: float
    nccl: float
    margin: float
    host: float

    @property
    def total(self) -> float:
        """All of it, on the GPU."""
        return self.parts.total + self.context + self.nccl + self.margin

    @property
    def resident(self) -> float:
        """What a process that computes on the CPU takes in its place: no CUDA, but libraries and a heap."""
        return (self.parts.total + self.host) * (1 + HEAP) + LIBRARIES


def need(phases: Phases, setting: Setting, size: Sizes) -> Need:
    """The largest of the phases, and what CUDA, NCCL and the allocator take beside.

    With offloading the masters, their gradients and the optimizer are in CPU memory; on the GPU are a block's shards on
    their way there and back.
    """
    run, host = setting.run, 0.0
    if run.cpu_offload:
        host = max(p.parameters + p.gradients + p.optimizer for p in phases.values())
        passing = 8 * size.block / (setting.gpus // run.replicas)
        phases = {
            name: replace(p, parameters=0.0, gradients=0.0, optimizer=0.0, working=p.working + passing)
            for name, p in phases.items()
            if name != OPTIMIZER
        }
    when, parts = max(phases.items(), key=lambda item: item[1].total)
    nccl = NCCL if setting.gpus > 1 else 0.0
    return Need(_in_words(when, size.layers), parts, CONTEXT, nccl, MARGIN * parts.total, host)


def closed_phases(setting: Setting) -> Phases:
    """The phases from arithmetic alone, in some ten milliseconds."""
    return estimate(sizes(setting.config, setting.run), setting.run, setting.gpus, accumulates=setting.accumulates)


def _in_words(phase: str, layers: int) -> str:
    name, _, number = phase.rpartition(" ")
    if number.isdecimal():
        return f"in the {name} of block {int(number) + 1} of {layers}"
    return {
        EMBEDDING: "while the embedding is gathered",
        LOSS: "in the loss",
        OPTIMIZER: "in the optimizer's step",
    }.get(phase, f"while the {phase} is reduced")
