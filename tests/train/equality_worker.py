"""Runs training cases one after another in this process of a group, and writes what each came to.

    equality_worker.py CASES.json

Each case: the model's folder, the tokens' seed, and the options that differ.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from torch.distributed.tensor import DTensor

from caravan.terminal import Progress
from caravan.train import launch, loop, loss, prepare
from caravan.train.config import TrainConfig
from caravan.train.prepare import Data
from caravan.train.rows import Rows
from madeup import random_tokens

STEPS, ROWS, BATCH = 20, 64, 16


def config_of(folder: str, out: str, **options: Any) -> TrainConfig:
    return TrainConfig.model_validate(
        {
            "model": folder, "out": out, "precision": "fp32", "activation_checkpointing": "none", "max_length": 64,
            "batch_size": BATCH, "lr": 1e-3, "epochs": 5, "seed": 5, "save_every": 0, "eval_every": 10**6, "keep": 1,
        }
        | options
    )  # fmt: skip


def data_of(seed: int) -> Data:
    tokens = random_tokens(seed, ROWS, 400)
    return Data("none", None, None, Rows(Path("made-up"), pl.DataFrame(), f"seed {seed}", None), tokens, None)  # type: ignore[arg-type]


def run_case(case: dict[str, Any], world: launch.World) -> None:
    """Train 20 steps; the run's folder then holds metrics.jsonl and weights.pt."""
    options = dict(case["options"])
    rows = options.pop("chunk", None)
    with pytest.MonkeyPatch.context() as patch:
        if rows is not None:  # positions whose logits are held at a time
            patch.setattr(loss, "chunk_rows", lambda _: rows)
        config = config_of(case["model"], case["out"], **options)
        data = data_of(case["seed"])
        objective = prepare.build(config, Path(config.model), data, world)
        Path(config.out).mkdir(parents=True, exist_ok=True)
        result = loop.run(config, data, objective, world, launch.StopFlag(), Progress(quiet=True))
    assert result.steps == STEPS
    named = objective.model.named_parameters()
    whole = {n: (p.full_tensor() if isinstance(p, DTensor) else p).detach().clone() for n, p in named}
    if not world.rank:
        torch.save(whole, Path(config.out) / "weights.pt")


def main() -> None:
    cases = json.loads(Path(sys.argv[1]).read_text())
    with launch.join(config_of("none", "none")) as world:
        for case in cases:
            run_case(case, world)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
