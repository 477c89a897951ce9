"""What a run needs, before anything is paid for or downloaded: memory by part, the largest micro-batch, time, cost.

The command's figures are traced (`trace.py`: the trainer's own code on tensors without memory); a run's own check at
its start is arithmetic (`closed_form.py`), as it must not take time. What neither can see is added by a stated rule
(`need.py`: the CUDA context, NCCL's buffers, a margin for the allocator).
"""

import math
import os
import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from transformers import PretrainedConfig

from caravan.errors import UserError
from caravan.terminal import out, print_json, printable, table
from caravan.train import change, cost, machine, place, shapes
from caravan.train.change import Change
from caravan.train.closed_form import Parts, sizes
from caravan.train.config import TrainConfig
from caravan.train.loss import chunk_rows
from caravan.train.need import GIB, MARGIN, Need, Phases, Setting, closed_phases, need

_ON_GPUS = r"on \1 GPUs"  # what the planner's flag --gpus is to a run
LARGEST = 4096  # maximal lengths at a time: no micro-batch above is looked for


@dataclass(frozen=True)
class Plan:
    """A run's needs. Memory is in bytes, and of one GPU; `closed_form` are the same parts by arithmetic.

    `largest_micro_batch` is how many maximal lengths at a time fit, 0 if none does. `speeds` are for `tokens` tokens:
    those of the run where `whole_run`, else 100 million. `changes` would fit where this does not.
    """

    model: str
    parameters: int
    trained: int
    gpus: int
    gpu_memory: float
    max_length: int
    micro_batch_size: int
    step_tokens: int
    need: Need
    closed_form: Parts
    fits: bool
    largest_micro_batch: int
    tokens: int
    whole_run: bool
    speeds: list[cost.Speed]
    changes: list[Change]


def plan(
    run: TrainConfig,
    *,
    gpus: int,
    config: PretrainedConfig | None = None,
    gpu: str | None = None,
    price: float | None = None,
    examples: int | None = None,
    mean_length: float | None = None,
) -> Plan:
    """Trace a step of this run on `gpus` GPUs of `run.gpu_memory` GiB (default 80), and look for what would fit.

    `config` in place of the model that `run.model` names. `gpu` begins the name of one of `cost.CARDS`, default all
    with about that memory; `price` is that of a GPU hour. With `examples` and their `mean_length` in tokens, time and
    cost are those of the whole run.

    Raises `UserError` for an unknown model or GPU, and in a process that is part of a process group.
    """
    from caravan.train.trace import trace_scaled  # stands on private parts of torch: a run's start does without

    if gpus % run.replicas:
        fix = "name a number that divides the GPUs"
        raise UserError(f"{gpus} GPUs do not make {run.replicas} equal replicas", where="--replicas", fix=fix)
    card = cost.cards(gpu, run.gpu_memory or 80.0)
    memory = run.gpu_memory or (next(iter(card.values())).memory if gpu else 80.0)
    setting = Setting(run.model, config or shapes.shape(run.model), run, gpus)
    size = sizes(setting.config, run)
    tokens = run.epochs * examples * mean_length if examples and mean_length else None

    known: dict[str, Phases] = {}

    def traced(some: Setting) -> Phases:
        key = f"{some.name} {some.gpus} {some.run!r}"
        if key not in known:
            known[key] = trace_scaled(some.config, some.run, some.gpus, accumulates=some.accumulates)
        return known[key]

    phases = traced(setting)
    needed = need(phases, setting, size)
    enough = needed.total <= memory * GIB
    return Plan(
        model=run.model,
        parameters=round(size.parameters),
        trained=round(size.trained),
        gpus=gpus,
        gpu_memory=memory,
        max_length=run.max_length,
        micro_batch_size=run.micro_batch_size,
        step_tokens=cost.step_tokens(run, mean_length),
        need=needed,
        closed_form=need(closed_phases(setting), setting, size).parts,
        fits=enough,
        largest_micro_batch=max(_largest(setting, traced, memory * GIB), run.micro_batch_size if enough else 0),
        tokens=round(tokens or cost.PER_TOKENS),
        whole_run=tokens is not None,
        speeds=cost.speeds(
            size, run, gpus, card, price=price, tokens=tokens or cost.PER_TOKENS, mean_length=mean_length
        ),
        changes=[]
        if enough
        else change.changes(setting, change.ON_GPUS, [_fits(closed_phases, memory), _fits(traced, memory)]),
    )


def _largest(setting: Setting, traced: Callable[[Setting], Phases], memory: float) -> int:
    """The largest micro-batch that fits: in every phase memory is a fixed part and one that grows with the tokens.

    The line is drawn through two bins that take several chunks of logits, as a larger bin adds no more of those.
    """
    size = sizes(setting.config, setting.run)
    enough_tokens = 2 * chunk_rows(round(size.vocabulary))
    first = max(setting.run.micro_batch_size, math.ceil(enough_tokens / setting.run.max_length))
    once, twice = (
        traced(replace(setting, run=setting.run.model_copy(update={"micro_batch_size": times * first})))
        for times in (1, 2)
    )

    def needed(micro_batch: int) -> float:
        more = micro_batch / first - 1
        phases = {name: parts + (twice[name] - parts) * more for name, parts in once.items()}
        return need(phases, setting, size).total

    return bisect_right(range(1, LARGEST + 1), memory, key=needed)


def _fits(measure: Callable[[Setting], Phases], memory: float) -> change.Fits:
    """The GiB that a setting needs of a GPU, if there are as many."""

    def gib(setting: Setting) -> float | None:
        needed = need(measure(setting), setting, sizes(setting.config, setting.run)).total / GIB
        return needed if needed <= memory else None

    return gib


def check_fits(config: TrainConfig) -> float:
    """The GiB that each process of this run will take at its peak: allocated on a GPU, resident on a CPU.

    By arithmetic alone, in some tenths of a second, and before anything but a model's configuration is fetched. Raises
    `UserError`, with the plan's figures and what would fit, for a run that cannot fit the devices at hand.
    """
    here = place.found(os.environ) or place.Place()
    if here.size % config.replicas:
        return 0.0  # `launch.join` refuses it, and says why
    setting = Setting(config.model, shapes.shape(config.model), config, here.size)
    needed = need(closed_phases(setting), setting, sizes(setting.config, config))
    local = int(os.environ.get("LOCAL_WORLD_SIZE") or max(here.size // config.nnodes, 1))  # processes on this node
    there = machine.gpu_memory(here.local_rank)
    if there is None:
        _check_cpu(setting, needed, local, config.gpu_memory or machine.cpu_memory())
        return needed.resident / GIB
    memory = config.gpu_memory or there
    if needed.total > memory * GIB:
        found = change.changes(setting, change.ON_GPUS, [_fits(closed_phases, memory)])
        others = [f"{re.sub('--gpus ([0-9]+)', _ON_GPUS, flags)} ({gib:.1f} GiB)" for flags, gib in found]
        raise _refusal(setting, needed, needed.total / GIB, f"a GPU here has {memory:.1f} GiB", others)
    beside, free = local * needed.host / GIB, machine.cpu_memory()
    if beside > free:
        raise UserError(
            f"offloading needs {beside:.1f} GiB of CPU memory, {free:.1f} GiB are free here",
            where="--cpu-offload",
            fix="take more nodes, or adapters (--lora-rank 16)",
        )
    return needed.parts.total / GIB


def _check_cpu(setting: Setting, needed: Need, local: int, memory: float) -> None:
    """Raise `UserError` where `local` processes of this run do not find room in so many GiB."""

    def fits(some: Setting) -> float | None:
        gib = local * need(closed_phases(some), some, sizes(some.config, some.run)).resident / GIB
        return gib if gib <= memory else None

    total = local * needed.resident / GIB
    if total > memory:
        here = [f"{flags} here ({gib:.1f} GiB)" for flags, gib in change.changes(setting, change.ON_CPU, [fits], 2)]
        others = _elsewhere(setting)[: 3 - len(here)] + here
        raise _refusal(setting, needed, total, f"{memory:.1f} GiB are free here", others)


def _elsewhere(setting: Setting) -> list[str]:
    """The fewest GPUs of 80 GiB that hold what the CPU's memory does not, for all weights and for adapters."""
    on_gpu = replace(setting, gpus=1, run=setting.run.model_copy(update={"precision": "bf16", "replicas": 1}))
    fits = _fits(closed_phases, 80.0)
    found = []
    for flags, start in (("", on_gpu), *change.adapters(on_gpu)):
        for some in (start, *(more for _, more in change.more_gpus(start))):
            gib = fits(some)
            if gib is not None:
                gpus = "1 GPU" if some.gpus == 1 else f"{some.gpus} GPUs"
                found.append(f"{flags} on {gpus} of 80 GiB ({gib:.1f} GiB each)".strip())
                break
    return found


def _refusal(setting: Setting, needed: Need, total: float, there: str, others: list[str]) -> UserError:
    parts = ", ".join(f"{name} {gib:.1f}" for name, gib in _gib(needed.parts).items() if gib >= 0.05)
    return UserError(
        f"this run needs {total:.1f} GiB ({parts}), {there}",
        where=setting.name,
        fix=f"what would fit: {', or '.join(others)}" if others else "take a smaller model",
    )


def _gib(parts: Parts) -> dict[str, float]:
    return {name: value / GIB for name, value in asdict(parts).items()}


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan as one JSON object; memory in GiB."""
    added = {
        "cuda_context": plan.need.context / GIB,
        "nccl": plan.need.nccl / GIB,
        "allocator_margin": plan.need.margin / GIB,
    }
    kept = asdict(plan) | {
        "memory_gib": {**_gib(plan.need.parts), **added},
        "needed_gib": plan.need.total / GIB,
        "allocated_gib": plan.need.parts.total / GIB,
        "cpu_memory_gib": plan.need.host / GIB,
        "closed_form_gib": _gib(plan.closed_form),
        "peak": plan.need.when,
        "changes": [change._asdict() for change in plan.changes],
    }
    return {name: value for name, value in kept.items() if name not in ("need", "closed_form")}


PARTS = {
    "parameters": "parameters: fp32 masters",
    "gradients": "gradients: fp32",
    "optimizer": "optimizer: two moments, fp32",
    "working": "working copies: gathered weights, gradients on their way",
    "activations": "activations and temporaries",
    "loss": "loss: a chunk of logits, the output layer's gradient",
}


def show_plan(plan: Plan, json_: bool = False) -> None:
    """Print a plan: the verdict, memory by part beside the closed form, time and cost, what would fit."""
    if json_:
        print_json(as_json(plan))
        return
    gpus = "1 GPU" if plan.gpus == 1 else f"each of {plan.gpus} GPUs"
    needed = plan.need.total / GIB
    trained = "" if plan.trained == plan.parameters else f", {plan.trained / 1e6:,.1f} million of them trained"
    out(f"{printable(plan.model)}: {plan.parameters / 1e9:,.2f} billion parameters{trained}")
    verdict = "fits" if plan.fits else "does not fit"
    out(f"{verdict}: {needed:.1f} of {plan.gpu_memory:g} GiB on {gpus}, at the peak {plan.need.when}")
    out()
    closed = _gib(plan.closed_form)
    rows: list[tuple[object, ...]] = [
        (PARTS[name], f"{gib:.2f}", f"{closed[name]:.2f}") for name, gib in _gib(plan.need.parts).items()
    ]
    rows += [
        ("allocated", f"{plan.need.parts.total / GIB:.2f}", f"{plan.closed_form.total / GIB:.2f}"),
        ("CUDA context", f"{plan.need.context / GIB:.2f}", None),
        ("NCCL buffers", f"{plan.need.nccl / GIB:.2f}", None),
        (f"allocator, {MARGIN:.0%} of what is allocated", f"{plan.need.margin / GIB:.2f}", None),
        ("needed", f"{needed:.2f}", None),
    ]
    if plan.need.host:
        rows.append(("CPU memory beside, for each GPU", f"{plan.need.host / GIB:.2f}", None))
    table("Memory of one GPU at its peak", ("part", "GiB", "closed form"), rows)
    tokens = f"{plan.max_length:,} tokens"
    if plan.largest_micro_batch:
        out(f"Largest micro-batch that fits: {plan.largest_micro_batch:,} x {tokens} (now {plan.micro_batch_size:,})")
    else:
        out(f"No micro-batch fits, not even 1 x {tokens}")
    out()
    if plan.changes:
        table("What would fit", ("give", "GiB of a GPU"), [(flags, f"{gib:.1f}") for flags, gib in plan.changes])
        out()
    elif not plan.fits:
        out("No change that was tried fits: take a smaller model, or GPUs with more memory")
        out()
    _show_speeds(plan)


def _show_speeds(plan: Plan) -> None:
    if not plan.speeds:
        out("Time with CPU offloading is not predicted: the way to CPU memory decides it")
        return
    what = "the whole run" if plan.whole_run else f"{plan.tokens / 1e6:,.0f} million tokens"
    priced = plan.speeds[0].cost is not None
    table(
        f"Time for {what}, a step of {plan.step_tokens:,} tokens{'' if plan.whole_run else ' at most'}",
        ("GPU", "TFLOP/s", "MFU assumed", "tokens/s a GPU", "s a step", "hours", "GPU hours", *(["cost"] * priced)),
        [
            (
                speed.gpu,
                f"{speed.peak_tflops:,.0f}",
                f"{speed.mfu:.0%}",
                f"{speed.tokens_per_second_per_gpu:,.0f}",
                f"{speed.step_seconds:,.1f}",
                f"{speed.hours:,.1f}",
                f"{speed.gpu_hours:,.1f}",
                *([f"{speed.cost:,.2f}"] if speed.cost is not None else []),
            )
            for speed in plan.speeds
        ],
    )
