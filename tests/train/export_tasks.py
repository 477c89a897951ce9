"""What the processes of the export tests do (see `ranks`): a tiny run from rows to the exported folder."""

import resource
from pathlib import Path
from typing import Any

import peft  # noqa: F401 - loaded once, before the processes are forked
import torch
from torch.distributed.tensor import DTensor

from caravan.terminal import Progress
from caravan.train import export, loop, prepare
from caravan.train.config import TrainConfig
from caravan.train.launch import StopFlag, World
from caravan.train.objective import Objective
from caravan.train.prepare import Data

QUIET = Progress(quiet=True)


def config_of(folder: Path, config: dict[str, Any]) -> TrainConfig:
    """Two steps on the rows in `folder` with the model there."""
    options = {"model": folder / "model", "data": folder / "rows.parquet", "out": folder / "run"}
    told: dict[str, Any] = {name: str(path) for name, path in options.items()}
    told |= {"precision": "fp32", "max_length": 128, "max_steps": 2, "batch_size": 8, "lr": 0.01, "save_every": 1}
    return TrainConfig.model_validate(told | config)


def trained(world: World, folder: Path, config: dict[str, Any]) -> tuple[TrainConfig, Data, Objective, dict[str, Any]]:
    """Train; `weights.pt` then holds all parameters, whole."""
    told = config_of(folder, config)
    data = prepare.read_data(told, folder / "model", QUIET)
    objective = prepare.build(told, folder / "model", data, world)
    Path(told.out).mkdir(parents=True, exist_ok=True)
    result = loop.run(told, data, objective, world, StopFlag(), QUIET)
    named = objective.model.named_parameters()
    whole = {n: (p.full_tensor() if isinstance(p, DTensor) else p).detach().clone() for n, p in named}
    if not world.rank:
        torch.save(whole, folder / "weights.pt")
    return told, data, objective, result.figures


def write(world: World, into: Path, config: TrainConfig, data: Data, objective: Objective, results: Any = None) -> None:
    """Export with what a run hands over."""
    export.export(
        objective,
        world,
        into,
        config=config,
        tokenizer=data.tokenizer,
        template=data.template,
        rows=data.rows,
        tokens=data.tokens,
        results=results or {},
    )


def run(
    world: World, folder: Path, config: dict[str, Any], file_bytes: int | None = None, limit: int | None = None
) -> None:
    """Train and export; into files of `file_bytes`, with rank 0 barred from files over `limit`."""
    told, data, objective, figures = trained(world, folder, config)
    export.FILE_BYTES = file_bytes or export.FILE_BYTES
    if limit is not None and not world.rank:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    write(world, Path(told.out) / "model", told, data, objective, figures)
