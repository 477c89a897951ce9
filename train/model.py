"""From a Hugging Face folder to a model whose weights lie in their shards, never whole in one place.

Parameters are made on the meta device, buffers are real from the start: a model's own constructor computes them (RoPE's
frequencies are in no state dict, and `to_empty` would leave them as noise). After sharding, parameters get memory, and
safetensors are read straight into each rank's shard.
"""

import json
import math
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MethodType
from typing import Any

import torch
import torch.distributed as dist
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key
from transformers.pytorch_utils import Conv1D

from caravan.errors import UserError
from caravan.train import attention, hub
from caravan.train.config import TrainConfig


def read_config(folder: Path) -> Any:
    """The model's `config.json`. Code that a model brings along is never run; `UserError` where it would be needed."""
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError, StrictDataclassError) as error:
        raise UserError(f"no usable config.json: {hub.said(error)}", where=str(folder)) from None
    if getattr(config, "quantization_config", None) is not None:
        raise UserError("its weights are quantised", where=str(folder), fix="name the model that they were made from")
    return config


@contextmanager
def _parameters_on_meta() -> Iterator[None]:
    """Within, every parameter that a module registers goes to the meta device; buffers stay what they are."""
    register = nn.Module.register_parameter

    def on_meta(module: nn.Module, name: str, param: nn.Parameter | None) -> None:
        if param is not None and not param.is_meta:
            param = nn.Parameter(param.to("meta"), requires_grad=param.requires_grad)
        register(module, name, param)

    nn.Module.register_parameter = on_meta  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]


def skeleton(model_config: Any) -> Any:
    """The causal language model of a config: fp32 parameters on meta, real buffers, our attention, tied as it says."""
    attention.register()
    with _parameters_on_meta():
        try:
            model = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
                model_config, dtype=torch.float32, attn_implementation=attention.NAME, trust_remote_code=False
            )
        except KeyError as error:
            if error.args != (attention.NAME,):
                what = f"config.json asks for {error}, which transformers does not have"
                raise UserError(what, where=model_config.model_type, fix="mend config.json") from None
            raise UserError(
                "conversations in one bin would see each other: the family has attention of its own, which cannot be"
                " told the segments",
                where=model_config.model_type,
                fix="train another model family",
            ) from None
        except ValueError as error:
            raise UserError(
                f"not a causal language model: {str(error).splitlines()[0]}", where=model_config.model_type
            ) from None
    model.tie_weights()
    return model


def blocks(model: Any) -> list[nn.Module]:
    """The layers of the stack, in order: what is sharded, recomputed and compiled each on its own."""
    stacks = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len({type(x) for x in m}) == 1]
    names = set(model._no_split_modules or ())
    named = [m for m in stacks if type(m[0]).__name__ in names]
    return list(max(named or stacks, key=len, default=[]))


def recompute(layers: list[nn.Module], how: str) -> None:
    """Activation checkpointing of every block (`full`), every second one (`selective`), or `none`.

    The forward of the instance is replaced, not wrapped in a module: names in state dicts stay as they are.
    """
    for layer in layers if how == "full" else layers[::2] if how == "selective" else ():
        layer.forward = MethodType(_recomputed, layer)


def _recomputed(layer: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """A block's forward in which nothing is kept but its input.

    A function of our own around `checkpoint`, which torch.compile passes over with all that it calls where it comes
    first; and one of the block, not of its bound forward, so that all blocks share what was compiled.
    """
    return checkpoint(type(layer).forward, layer, *args, use_reentrant=False, **kwargs)


def add_adapters(model: Any, config: TrainConfig) -> None:
    """Put LoRA adapters (Hu et al., 2021, arXiv 2106.09685) on every linear layer but the output; freeze the rest."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ModuleNotFoundError:
        raise UserError("LoRA takes the package peft", fix="pip install 'caravan[lora]'") from None
    lora = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,  # type: ignore[arg-type]
        target_modules="all-linear",
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),  # GPT-2's
    )
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    inject_adapter_in_model(lora, model, low_cpu_mem_usage=True)


def use_liger(model: Any) -> None:
    """Replace norms and gated MLPs by Liger's fused kernels, where the family has them (its loss is not used)."""
    try:
        from liger_kernel.transformers import _apply_liger_kernel_to_instance
    except ModuleNotFoundError:
        raise UserError("--liger takes the package liger-kernel", fix="pip install liger-kernel") from None
    _apply_liger_kernel_to_instance(model=model, cross_entropy=False, fused_linear_cross_entropy=False)


def materialise(module: nn.Module, device: torch.device) -> None:
    """Give meta parameters memory on the device, uninitialised, and move buffers there; what was tied stays tied.

    Buffers stay on the GPU where parameters are to lie in CPU memory: sharding brought them there, for the computation.
    """
    places: dict[int, list[tuple[nn.Module, str]]] = {}
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            places.setdefault(id(parameter), []).append((part, name))

    def placed(tensor: Tensor) -> Tensor:
        if tensor.is_meta:
            return torch.empty_like(tensor, device=device)
        return tensor if device.type == "cpu" else tensor.to(device)

    module._apply(placed)  # type: ignore[no-untyped-call]
    for (first, its_name), *others in places.values():
        for part, name in others:
            if getattr(part, name) is not getattr(first, its_name):
                setattr(part, name, getattr(first, its_name))


def load_weights(model: Any, folder: Path) -> None:
    """Read safetensors into the model's parameters, each rank its own shard; `UserError` for what does not fit.

    Stored names are turned into the model's by transformers' own rules: files of a bare backbone lack a prefix (GPT-2's
    on the hub), older ones name layers otherwise (`embed_out` of GPT-NeoX).
    """
    shapes = _stored(folder)
    tensors = dict(plain_tensors(model))
    stored = _stored_names(model, tensors, list(shapes))
    wanted: dict[str, Tensor] = {}
    missing = []
    for name, tensor in tensors.items():
        if name not in stored:
            missing.append(name)
        elif shapes[stored[name]] != tuple(tensor.shape):
            raise UserError(
                f"{stored[name]} has the shape {shapes[stored[name]]}, config.json asks for {tuple(tensor.shape)}",
                where=str(folder),
                fix="take config and weights from one model",
            )
        else:
            wanted[stored[name]] = tensor.detach()
    if missing:
        raise UserError(
            f"{len(missing)} tensors are not in the safetensors: {', '.join(missing[:3])}",
            where=str(folder),
            fix="take config and weights from one model",
        )
    for name in stored.keys() - tensors.keys():  # other heads, old buffers: not ours; but a layer is
        if re.sub(r"\.\d+\.", ".0.", name) in tensors:
            raise UserError(
                f"{stored[name]} belongs to a layer that config.json does not have",
                where=str(folder),
                fix="take config and weights from one model",
            )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # one process alone is meant
        load(wanted, storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=not dist.is_initialized())


def _stored_names(model: Any, tensors: dict[str, Tensor], names: list[str]) -> dict[str, str]:
    """The name under which each of the model's tensors is stored."""
    rules = get_model_conversion_mapping(model)
    renamings = [rule for rule in rules if isinstance(rule, WeightRenaming)]
    converters = [rule for rule in rules if isinstance(rule, WeightConverter)]
    stored = {}
    for name in names:
        plain, converted = rename_source_key(name, renamings, converters, model.base_model_prefix, tensors)
        if converted is not None:
            raise UserError(
                f"{name} is stored in another form than the model computes with",
                fix="this family cannot be trained here: its weights would have to be rebuilt while they are loaded",
            )
        stored[plain] = name
    return stored


def plain_tensors(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Parameters and persistent buffers by the names of the plain model; tied ones once, adapters not."""
    persistent = model.state_dict(keep_vars=True)
    for name, tensor in (*model.named_parameters(), *((n, b) for n, b in model.named_buffers() if n in persistent)):
        if ".lora_" not in name:
            yield name.replace(".base_layer.", "."), tensor


def _weight_files(folder: Path) -> list[Path]:
    """The files that the index names, or the single file, or whatever is there; others hold the weights twice."""
    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UserError("not an index of safetensors", where=str(index), fix="fetch it again") from None
        return [folder / name for name in names]
    return [single] if single.is_file() else sorted(folder.glob("*.safetensors"))


def _stored(folder: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all tensors in the folder's safetensors, read from the files' headers."""
    files = _weight_files(folder)
    if not files:
        raise UserError(
            "no *.safetensors",
            where=str(folder),
            fix="pickled weights (*.bin) are not read: convert them, or take a revision that has safetensors",
        )
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                names = opened.keys()
                shapes |= {name: tuple(opened.get_slice(name).get_shape()) for name in names}
        except (OSError, SafetensorError):
            raise UserError("not a safetensors file, or cut off", where=str(file), fix="fetch it again") from None
    return shapes


def reset(named: Iterator[tuple[str, Tensor]], seed: int, fill: Callable[[str, Tensor, torch.Generator], None]) -> None:
    """Fill parameters with random values that depend on seed, name and kind of device, not on how they are sharded.

    They are drawn where the parameters lie: a GPU draws in a second what takes a CPU a minute.
    """
    from zlib import crc32

    for name, parameter in named:
        generator = torch.Generator(parameter.device).manual_seed((seed << 32) ^ crc32(name.encode()))
        full = torch.empty(parameter.shape, device=parameter.device)
        fill(name, full, generator)
        if isinstance(parameter, DTensor):
            from torch.distributed.tensor import distribute_tensor

            full = distribute_tensor(full, parameter.device_mesh, parameter.placements, src_data_rank=None)
        with torch.no_grad():
            parameter.copy_(full)


def random_weights(model: Any, seed: int) -> None:
    """Start from scratch: matrices normal with the config's deviation (0.02), norms 1, biases 0."""
    deviation = getattr(model.config, "initializer_range", 0.02)

    def fill(name: str, full: Tensor, generator: torch.Generator) -> None:
        if full.ndim > 1:
            full.normal_(0, deviation, generator=generator)
        else:
            full.fill_(0.0 if name.endswith("bias") else 1.0)

    reset(model.named_parameters(), seed, fill)


def start_adapters(model: Any, seed: int) -> None:
    """A of each adapter uniform as a linear layer starts, B zero: the model begins as its base."""

    def fill(name: str, full: Tensor, generator: torch.Generator) -> None:
        if ".lora_A." in name:
            bound = 1 / math.sqrt(full.shape[1])
            full.uniform_(-bound, bound, generator=generator)
        else:
            full.zero_()

    reset(((n, p) for n, p in model.named_parameters() if ".lora_" in n), seed, fill)


def check_tied(model: Any) -> None:
    """Raise `RuntimeError` if a config that ties input and output embeddings has come apart (a bug, not bad input)."""
    tied = getattr(model.config, "tie_word_embeddings", False)
    if tied and model.get_input_embeddings().weight is not model.get_output_embeddings().weight:
        raise RuntimeError("the tie of input and output embeddings was broken")
