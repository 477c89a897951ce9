"""The memory of one training step, read off a run without memory: the trainer's own code over fake tensors.

`FSDPMemTracker` of torch follows every storage while the real model, sharding, checkpointing and loss run on tensors
that have a shape and no bytes, in a process group of the wanted size that talks to nobody. The tracker is a private
part of torch; `closed_form.py` says the same from arithmetic alone, and a test holds the two together.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from enum import StrEnum
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker, _FSDPState
from torch.distributed._tools.mem_tracker import MemTracker
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor._sharding_prop import ShardingPropagator
from torch.testing._internal.distributed.fake_pg import FakeStore
from transformers import PretrainedConfig

from caravan.errors import UserError
from caravan.train import model as models
from caravan.train import prepare, shard
from caravan.train.closed_form import EMBEDDING, LOSS, OPTIMIZER, ROOT, Parts, bin_tokens, unsharded
from caravan.train.config import TrainConfig
from caravan.train.loader import Batch
from caravan.train.objective import Sft


class _Kind(StrEnum):
    """The names of both trackers' categories, and one of our own: what the loss makes."""

    PARAM, SHARDED = "Parameter", "Sharded Param"
    BUFFER = "Buffer"
    GRAD, SHARDED_GRAD = "Gradient", "Sharded Grad"
    OPT, SHARDED_OPT = "Optstate", "OptState"
    UNSHARDED, UNSHARDED_GRAD = "Unsharded Param", "Unsharded Grad"
    ALL_GATHER, REDUCE_SCATTER = "All Gather", "Reduce Scatter"
    ACT, TEMP, INPUTS, OTHER = "Activation", "Temp", "Inputs", "Other"
    LOSS = "Loss"


_PART = {
    "parameters": (_Kind.PARAM, _Kind.SHARDED, _Kind.BUFFER),
    "gradients": (_Kind.GRAD, _Kind.SHARDED_GRAD),
    "optimizer": (_Kind.OPT, _Kind.SHARDED_OPT),
    "working": (_Kind.UNSHARDED, _Kind.UNSHARDED_GRAD, _Kind.ALL_GATHER, _Kind.REDUCE_SCATTER),
    "activations": (_Kind.ACT, _Kind.TEMP, _Kind.INPUTS, _Kind.OTHER),
    "loss": (_Kind.LOSS,),
}

_MOVING = (_FSDPState.PRE_FW, _FSDPState.PRE_BW, _FSDPState.POST_BW)  # what is made then is gathered or reduced


class _Phases:
    """Mixed into a tracker: keeps the snapshot of the peak of every phase, and leaves out what is not on the device."""

    ignored = 0  # over 0 while DTensor works out a result's shape, on whole tensors that do not exist

    def __init__(self, *tracked: Any) -> None:
        super().__init__(*tracked)
        self.phase = EMBEDDING
        self.peaks: dict[str, dict[str, int]] = {}
        self._ref_class = _Kind

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if _Phases.ignored:
            return func(*args, **(kwargs or {}))
        return super().__torch_dispatch__(func, types, args, kwargs)  # type: ignore[misc]

    def _track(self, kind: Any, tensor: Tensor) -> None:
        if kind in (_Kind.ACT, _Kind.TEMP) and getattr(self, "_fsdp_state", None) in _MOVING:
            kind = _Kind.UNSHARDED
        elif kind == _Kind.ACT and self.phase == LOSS:
            kind = _Kind.LOSS
        super()._track(kind, tensor)  # type: ignore[misc]

    def _update_peak_stats(self, _: Any) -> None:
        for now in self._curr_mem_snap.values():  # type: ignore[attr-defined]
            if now["Total"] > self.peaks.get(self.phase, {"Total": 0})["Total"]:
                self.peaks[self.phase] = dict(now)


class _Sharded(_Phases, FSDPMemTracker):  # type: ignore[misc, no-untyped-call]
    pass


class _Plain(_Phases, MemTracker):  # type: ignore[misc, no-untyped-call]
    pass


@contextmanager
def _shapes_aside() -> Iterator[None]:
    """Within, a tracker does not see the whole tensors on which DTensor works out shapes.

    The tracker leaves out what runs under another fake mode than its own, but under a user's fake mode DTensor takes
    that one: an optimizer over 8 ranks would seem to need the memory of all 8.
    """
    stock = ShardingPropagator._propagate_tensor_meta_non_cached

    def aside(self: ShardingPropagator, *args: Any, **kwargs: Any) -> Any:
        _Phases.ignored += 1
        try:
            return stock(self, *args, **kwargs)
        finally:
            _Phases.ignored -= 1

    ShardingPropagator._propagate_tensor_meta_non_cached = aside  # type: ignore[method-assign]
    try:
        yield
    finally:
        ShardingPropagator._propagate_tensor_meta_non_cached = stock  # type: ignore[method-assign]


@contextmanager
def _imagined(world: int) -> Iterator[None]:
    """A process group of `world` ranks in which nobody else is."""
    if dist.is_initialized():
        raise UserError(
            "a plan cannot be traced in a process that is part of a run", fix="plan in a process of its own"
        )
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=world)
    try:
        yield
    finally:
        dist.destroy_process_group()


def trace(config: PretrainedConfig, run: TrainConfig, gpus: int, *, accumulates: bool = True) -> dict[str, Parts]:
    """Peak bytes on one of `gpus` GPUs in every phase of a step that is not the first, in the order they come:
    `embedding`, `forward 0`, ..., `loss`, `backward 31`, ..., `embedding's gradient`, `optimizer`.

    The bin is full, and every position in it supervised. `accumulates`: the step has several bins a GPU, so that the
    gradients of earlier ones are there throughout. What is kept in CPU memory with offloading is counted here too.
    Raises `UserError` in a process that is part of a process group.
    """
    config = _without_masks(config, bin_tokens(run))
    with _imagined(gpus), _shapes_aside():
        mesh = _mesh(run, gpus)
        objective = Sft(models.skeleton(config), ["data"])
        if run.lora_rank:
            models.add_adapters(objective.model, run)
        with FakeTensorMode(allow_non_fake_inputs=True):
            shard.prepare(objective, run.model_copy(update={"cpu_offload": False, "compile": False}), mesh)
            models.materialise(objective, torch.device("cpu"))
            trained = [parameter for parameter in objective.train().parameters() if parameter.requires_grad]
            optimizer = prepare.adamw(objective, run)
            for parameter in trained:
                parameter.grad = torch.zeros_like(parameter)
            optimizer.step()
            if not accumulates:
                optimizer.zero_grad()
            tracker: Any = _Plain() if mesh is None else _Sharded(objective, optimizer)
            if mesh is None:
                tracker.track_external(objective, optimizer)
            _mark(tracker, models.blocks(objective.model))
            with tracker, warnings.catch_warnings():
                warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
                objective(_full_bin(run), 1.0).loss.backward()
                tracker.phase = OPTIMIZER
                torch.nn.utils.clip_grad_norm_(trained, run.clip)
                optimizer.step()
    return {phase: _parts(snapshot) for phase, snapshot in tracker.peaks.items()}


def trace_scaled(
    config: PretrainedConfig, run: TrainConfig, gpus: int, *, accumulates: bool = True
) -> dict[str, Parts]:
    """As `trace`, from two short stacks of the same blocks: every further pair of blocks adds what the last one did.

    Two depths that differ by two and are odd or even as the model is: with selective checkpointing every second block
    is another. The three blocks at either end are kept apart, those between lie on a line and so are never the peak.
    """
    layers = int(config.get_text_config().num_hidden_layers)
    depth = 6 + layers % 2
    if layers <= depth + 2:
        return trace(config, run, gpus, accumulates=accumulates)
    short = trace(_cut(config, depth), run, gpus, accumulates=accumulates)
    longer = trace(_cut(config, depth + 2), run, gpus, accumulates=accumulates)
    scaled = {}
    for phase, parts in short.items():
        name, _, number = phase.rpartition(" ")
        more = 0
        if number.isdigit():
            if 3 <= int(number) < depth - 3:
                continue
            more = 0 if int(number) < 3 else 1
        further = longer[f"{name} {int(number) + 2}" if more else phase]
        full = f"{name} {int(number) + layers - depth}" if more else phase
        scaled[full] = parts + (further - parts) * ((layers - depth) / 2)
    return scaled


def _cut(config: PretrainedConfig, layers: int) -> PretrainedConfig:
    """The same model with fewer blocks; lists of one entry a block are cut with them."""
    config = deepcopy(config)
    text = config.get_text_config()
    for name, value in list(vars(text).items()):
        if isinstance(value, list) and len(value) == text.num_hidden_layers:
            setattr(text, name, value[:layers])
    text.num_hidden_layers = layers
    return config


def _without_masks(config: PretrainedConfig, tokens: int) -> PretrainedConfig:
    """As a GPU runs it: its attention needs no mask for a sliding window, and has no dropout of its own."""
    config = deepcopy(config)
    if (getattr(config, "sliding_window", None) or tokens) < tokens:
        config.sliding_window = tokens
    for name in ("attention_dropout", "attn_pdrop"):
        if getattr(config, name, 0.0):
            setattr(config, name, 0.0)
    return config


def _mesh(run: TrainConfig, world: int) -> Any:
    if unsharded(run, world):
        return None
    if run.replicas > 1:
        return init_device_mesh("cpu", (run.replicas, world // run.replicas), mesh_dim_names=("replicate", "shard"))
    return init_device_mesh("cpu", (world,))


def _full_bin(run: TrainConfig) -> Batch:
    tokens = bin_tokens(run)
    zeros = torch.zeros(tokens, dtype=torch.int64)
    return Batch(
        ids=zeros[None],
        positions=zeros[None],
        boundaries=(0, tokens),
        at=zeros,
        targets=zeros,
        segment=zeros,
        turn=torch.ones_like(zeros),
        source=zeros[:1],
        rows=(0,),
    )


def _mark(tracker: Any, layers: list[nn.Module]) -> None:
    """Tell the tracker which block computes."""

    def enter(phase: str) -> Any:
        def hook(*_: Any) -> None:
            tracker.phase = phase

        return hook

    def first(_: nn.Module, inputs: Any) -> None:
        if inputs and inputs[0].requires_grad:
            inputs[0].register_hook(enter(ROOT))

    layers[0].register_forward_pre_hook(first)
    for number, layer in enumerate(layers):
        layer.register_forward_pre_hook(enter(f"forward {number}"))

        def leave(_: nn.Module, __: Any, output: Any, number: int = number) -> None:
            hidden = output[0] if isinstance(output, tuple) else output
            hidden.register_hook(enter(f"backward {number}"))
            if number == len(layers) - 1:
                tracker.phase = LOSS

        layer.register_forward_hook(leave)


def _parts(snapshot: dict[str, int]) -> Parts:
    return Parts(**{part: sum(snapshot.get(kind.value, 0) for kind in kinds) for part, kinds in _PART.items()})
