"""What comes out of a run: a Hugging Face folder, loaded back and compared before it is called done."""

import copy
import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import GenerationConfig
from transformers.core_model_loading import revert_weight_conversion

from caravan.errors import UserError
from caravan.mixtures import manifest
from caravan.terminal import Progress
from caravan.train import checkpoint, hub, loadback, prepare
from caravan.train import config as configs
from caravan.train.config import DPOConfig, TrainConfig
from caravan.train.launch import World
from caravan.train.metrics import METRICS, read
from caravan.train.model import plain_tensors
from caravan.train.model_card import base_name, model_card
from caravan.train.objective import Objective
from caravan.train.rows import Rows
from caravan.train.template import Template
from caravan.train.tokens import Tokens

FILE_BYTES = 5 * 10**9  # of tensors in one file at most, but for a tensor that is larger
CONFIG = "train.toml"


def export(
    objective: Objective,
    world: World,
    folder: Path,
    *,
    config: TrainConfig,
    tokenizer: Any,
    template: Template,
    rows: Rows,
    tokens: Tokens,
    results: dict[str, Any],
) -> None:
    """Write the model, whole, into `folder`; collective: every rank calls it.

    Weights, config, generation config, tokenizer with the chat template that was trained, the mixture's manifest,
    `train.toml` and a model card. Adapters are merged. Everything is written aside and gets its name when it has been
    loaded back and found to be what was trained; an earlier export of this name is replaced. Raises `UserError`, on
    every rank, where that fails.
    """
    aside = folder.with_name(f".{folder.name}.tmp")
    mine = not world.rank
    try:
        checkpoint.agree(world, _begin(aside, folder) if mine else None)
        dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
        digests = _write_weights(objective.model, world, aside, folder, dtype)
        chosen = loadback.chosen_rows(tokens)
        logits = loadback.trained_logits(objective, tokens, chosen, world)
        error = None
        if mine:
            try:
                _write_configs(objective.model, aside, dtype, tokenizer, template)
                for file in aside.glob("*.safetensors"):  # which only their owner could read
                    shutil.copymode(aside / "config.json", file)
                agreement = loadback.compare_model(aside, digests, logits, tokens, chosen, world.device)
                loadback.compare_tokenizer(aside, template, rows, tokens, chosen)
                if rows.manifest is not None:
                    manifest.write(rows.manifest, aside)
                configs.write(_without_places(config), aside / CONFIG)
                card = model_card(config, rows, tokens, template, agreement, results)
                (aside / "README.md").write_text(card, encoding="utf-8")
                _finish(aside, folder)
            except UserError as cause:
                error = cause
            except OSError as cause:
                error = _cannot_write(folder, cause)
        checkpoint.agree(world, error)
    finally:
        if mine:
            shutil.rmtree(aside, ignore_errors=True)


def export_checkpoint(run: Path, step: int | None, out: Path, progress: Progress) -> None:
    """Export a checkpoint of a run's folder (the newest, or that of `step`) into `out`, in this process alone.

    Any number of ranks may have written it. What the run was trained on must be there and be the same. Raises
    `UserError` for a folder that is no run's, or has no such checkpoint, and as `export` does.
    """
    config = _config_of(run)
    path = _checkpoint_of(run, step)
    world = World(0, 1, 0, 1, 1, torch.device("cpu"), None, None)
    plain = config.model_copy(
        update={
            "precision": "fp32",
            "compile": False,
            "liger": False,
            "activation_checkpointing": "none",
            "cpu_offload": False,
        }
    )
    folder = hub.find_model(config.model)
    data = prepare.read_data(config, folder, progress)
    same = "put back the data and the model that it was trained with"
    checkpoint.check_identity(path, prepare.identity(config, data), world, fix=same)
    objective = prepare.build(plain, folder, data, world)
    checkpoint.read(path, objective, None, world)
    export(
        objective,
        world,
        out,
        config=config,
        tokenizer=data.tokenizer,
        template=data.template,
        rows=data.rows,
        tokens=data.tokens,
        results=_logged(run, int(path.name.removeprefix("step-"))),
    )


def _without_places(config: TrainConfig) -> TrainConfig:
    """The options as others may see them: names of files, not where they lie, and nothing of the machines."""
    names = {"data": Path(config.data).name, "out": "run", "model": base_name(config), "master": TrainConfig().master}
    if config.validation is not None:
        names["validation"] = Path(config.validation).name
    return config.model_copy(update=names | {"nproc": None, "nnodes": 1, "node_rank": 0, "gpu_memory": None})


def taken(folder: Path) -> UserError | None:
    """The error of a name that something else bears than an earlier export, or an empty folder."""
    earlier = all((folder / name).is_file() for name in (CONFIG, "config.json"))  # a run's folder has the first alone
    if folder.exists() and not earlier and not (folder.is_dir() and not any(folder.iterdir())):
        return UserError("is there already, and is no export", where=str(folder), fix="name another --out")
    return None


def _begin(aside: Path, folder: Path) -> UserError | None:
    """An empty folder aside; nothing but an earlier export may bear the name."""
    try:
        if (error := taken(folder)) is not None:
            return error
        if aside.exists():
            shutil.rmtree(aside)
        aside.mkdir(parents=True)
    except OSError as cause:
        return _cannot_write(folder, cause)
    return None


def _finish(aside: Path, folder: Path) -> None:
    checkpoint.to_disk(aside)
    if folder.exists():
        old = folder.with_name(f".{folder.name}.old.tmp")
        folder.rename(old)
        aside.rename(folder)
        shutil.rmtree(old)
    else:
        aside.rename(folder)
    checkpoint.to_disk(folder.parent)


def _cannot_write(folder: Path, cause: Exception) -> UserError:
    what = (isinstance(cause, OSError) and cause.strerror) or str(cause).splitlines()[0]
    return UserError(what, where=str(folder), fix="free some space, or name another folder: the checkpoint is whole")


def _write_weights(model: Any, world: World, aside: Path, folder: Path, dtype: torch.dtype) -> dict[str, bytes]:
    """Write all tensors as safetensors; gives the digest of each by the model's own name (on rank 0). Collective.

    One tensor after the other is gathered (`full_tensor`), and a file is written as soon as it is full: rank 0 holds
    one file, the others one tensor. The writer of torch.distributed.checkpoint would have every rank write its shards,
    to be read and joined on one rank afterwards: twice the disk, and neither merged adapters nor published names.
    """
    tensors = {name: tensor.detach() for name, tensor in plain_tensors(model)}
    stored = _stored_names(model, list(tensors))
    sizes = {n: t.numel() * (dtype.itemsize if t.is_floating_point() else t.itemsize) for n, t in tensors.items()}
    files = _files(sizes)
    digests = {}
    for file, names in files.items():
        held = {}
        for name in names:
            whole = _whole(model, name, tensors[name], world.device)
            if not world.rank:
                whole = whole.to("cpu", dtype if whole.is_floating_point() else None).contiguous()
                held[stored[name]] = whole
                digests[name] = loadback.digest(whole)
        error = None
        if not world.rank:
            try:
                save_file(held, aside / file, metadata={"format": "pt"})
            except (OSError, SafetensorError) as cause:
                error = _cannot_write(folder, cause)
        checkpoint.agree(world, error)
    if len(files) > 1 and not world.rank:
        index = {
            "metadata": {"total_size": sum(sizes.values())},
            "weight_map": {stored[name]: file for file, names in files.items() for name in names},
        }
        (aside / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return digests


def _whole(model: Any, name: str, tensor: Tensor, device: torch.device) -> Tensor:
    """The whole tensor, with the layer's adapter added to it in fp32. Collective."""
    whole = _gathered(tensor, device)
    layer: Any = model.get_submodule(name.removesuffix(".weight")) if name.endswith(".weight") else None
    if not hasattr(layer, "lora_A"):
        return whole
    for adapter, scaling in layer.scaling.items():
        a, b = (_gathered(part[adapter].weight.detach(), device) for part in (layer.lora_A, layer.lora_B))
        change = (b @ a) * scaling
        whole = whole + (change.T if layer.fan_in_fan_out else change)  # GPT-2 keeps its matrices the other way round
    return whole


def _gathered(tensor: Tensor, device: torch.device) -> Tensor:
    # With CPU offload shards lie in CPU memory, but the group of a GPU gathers what lies on it.
    if not isinstance(tensor, DTensor):
        return tensor
    moved: Any = tensor.to(device)
    whole: Tensor = moved.full_tensor()
    return whole


def _stored_names(model: Any, names: list[str]) -> dict[str, str]:
    """The name under which transformers stores each tensor (GPT-NeoX's output layer is published as `embed_out`).

    Its own function renames tensors in a dict; stand-ins, each of another length, show which became which.
    """
    marked = {name: torch.empty(n, device="meta") for n, name in enumerate(names)}
    renamed: dict[str, Tensor] = revert_weight_conversion(model, marked)
    return {names[len(mark)]: name for name, mark in renamed.items()}


def _files(sizes: dict[str, int]) -> dict[str, list[str]]:
    """Names by file, in the model's order."""
    groups: list[list[str]] = [[]]
    held = 0
    for name, size in sizes.items():
        if groups[-1] and held + size > FILE_BYTES:
            groups.append([])
            held = 0
        groups[-1].append(name)
        held += size
    if len(groups) == 1:
        return {"model.safetensors": groups[0]}
    return {f"model-{n:05}-of-{len(groups):05}.safetensors": group for n, group in enumerate(groups, start=1)}


def _write_configs(model: Any, folder: Path, dtype: torch.dtype, tokenizer: Any, template: Template) -> None:
    """`config.json`, `generation_config.json`, and the tokenizer's files with the template that was trained."""
    config = copy.deepcopy(model.config)
    config.architectures = [type(model).__name__]
    config.dtype = str(dtype).removeprefix("torch.")
    config.save_pretrained(folder)
    stops = list(dict.fromkeys(n for n in (*template.stop_tokens, tokenizer.eos_token_id) if n is not None))
    pad = tokenizer.pad_token_id
    GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=stops or None,
        pad_token_id=stops[0] if pad is None and stops else pad,
    ).save_pretrained(folder)
    exported = copy.deepcopy(tokenizer)
    exported.chat_template = template.chat_template
    exported.save_pretrained(folder)


def _config_of(run: Path) -> TrainConfig:
    path = run / CONFIG
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise UserError(f"no {CONFIG}", where=str(run), fix="name the folder of a run") from None
    except ValueError as error:
        raise UserError(f"not TOML: {error}", where=str(path), fix="it was changed: take it from a backup") from None
    return configs.load(str(path), {}, DPOConfig if "beta" in table else TrainConfig)


def _checkpoint_of(run: Path, step: int | None) -> Path:
    folder = run / "checkpoints"
    there = sorted(checkpoint.steps(folder))
    if not there:
        raise UserError("no checkpoint", where=str(folder), fix="name the folder of a run that saved one")
    if step is not None and step not in there:
        known = ", ".join(map(str, there))
        raise UserError(f"no checkpoint of step {step}", where=str(folder), fix=f"there are those of {known}")
    return folder / f"step-{there[-1] if step is None else step}"


def _logged(run: Path, step: int) -> dict[str, Any]:
    """What the log says of a step."""
    log = run / METRICS
    records = read(log) if log.is_file() else []
    return next((record for record in records if record.get("step") == step), {"step": step})
