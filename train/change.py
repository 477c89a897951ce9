"""What could be changed where a run does not fit, each tried before it is proposed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, NamedTuple

from caravan.train import shapes
from caravan.train.closed_form import sizes
from caravan.train.need import Setting

MOST_GPUS = 1024


class Change(NamedTuple):
    """Something that would fit: the flags to give, and the GiB that one GPU needs then."""

    flags: str
    gib: float


Kind = Callable[[Setting], Iterator[tuple[str, Setting]]]
Fits = Callable[[Setting], float | None]


def changes(setting: Setting, kinds: Sequence[Kind], fits: Sequence[Fits], wanted: int = 3) -> list[Change]:
    """The first few changes that fit; `kinds` come in the order in which one would want them.

    `fits` are asked one after another, the quick one first: each gives the GiB that a setting needs, or None where it
    does not fit. A change that does not fit alone is tried together with those that cost nothing but time.
    """
    found: list[Change] = []

    def asks(flags: str, changed: Setting) -> bool:
        gib: float | None = None
        for measure in fits:
            gib = measure(changed)
            if gib is None:
                return False
        assert gib is not None
        found.append(Change(flags, gib))
        return True

    free = dict(_free(setting))
    flags, all_free = " ".join(free), _with(setting, **{k: v for update in free.values() for k, v in update.items()})
    for flag, update in free.items():
        asks(flag, _with(setting, **update))
    if len(free) > 1 and not found:
        asks(flags, all_free)
    for kind in kinds:
        if len(found) >= wanted:
            break
        for (alone, changed), (_, changed_too) in zip(kind(setting), kind(all_free), strict=True):
            if asks(alone, changed) or (free and asks(f"{flags} {alone}", changed_too)):
                break
    return found[:wanted]


def _with(setting: Setting, **update: Any) -> Setting:
    return replace(setting, run=setting.run.model_copy(update=update))


def _free(setting: Setting) -> Iterator[tuple[str, dict[str, Any]]]:
    """What changes the time and nothing else."""
    if setting.run.activation_checkpointing != "full":
        yield "--activation-checkpointing full", {"activation_checkpointing": "full"}
    if setting.run.micro_batch_size > 1:
        yield "--micro-batch-size 1", {"micro_batch_size": 1}


def more_gpus(setting: Setting) -> Iterator[tuple[str, Setting]]:
    """Twice, four times, ... as many."""
    gpus = 2 * setting.gpus
    while gpus <= MOST_GPUS:
        yield f"--gpus {gpus}", replace(setting, gpus=gpus)
        gpus *= 2


def offloading(setting: Setting) -> Iterator[tuple[str, Setting]]:
    """Shards and optimizer in CPU memory."""
    if not setting.run.cpu_offload:
        yield "--cpu-offload", _with(setting, cpu_offload=True, compile=False)


def half_precision(setting: Setting) -> Iterator[tuple[str, Setting]]:
    """Computation in bf16; masters stay fp32."""
    if setting.run.precision == "fp32":
        yield "--precision bf16", _with(setting, precision="bf16")


def shorter(setting: Setting) -> Iterator[tuple[str, Setting]]:
    """Half the length, a quarter, ... down to 256."""
    length = setting.run.max_length // 2
    while length >= 256:
        yield f"--max-length {length}", _with(setting, max_length=length)
        length //= 2


def adapters(setting: Setting) -> Iterator[tuple[str, Setting]]:
    """LoRA in place of all weights, where the package for it is installed."""
    if not setting.run.lora_rank and find_spec("peft") is not None:
        yield "--lora-rank 16", _with(setting, lora_rank=16)


def adapters_and_gpus(setting: Setting) -> Iterator[tuple[str, Setting]]:
    """Both, where neither will do."""
    for flags, changed in adapters(setting):
        for more, changed_too in more_gpus(changed):
            yield f"{flags} {more}", changed_too


def smaller(setting: Setting) -> Iterator[tuple[str, Setting]]:
    """Built-in models with fewer parameters, the largest first: of the same family, then of Pythia."""
    own = shapes.builtin(setting.name) or ""
    total = sizes(setting.config, setting.run).parameters
    for family in dict.fromkeys([own.rpartition("-")[0] or "pythia", "pythia"]):
        for name in reversed(shapes.NAMES):
            if name.rpartition("-")[0] == family:
                config = shapes.shape(name)
                if sizes(config, setting.run).parameters < total:
                    yield f"--model {name}", replace(setting, name=name, config=config)


ON_GPUS = (half_precision, more_gpus, offloading, shorter, adapters, smaller, adapters_and_gpus)
ON_CPU = (shorter, adapters, smaller)
