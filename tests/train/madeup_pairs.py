"""Pairs made up in a test, and the preference objective over them. As a script: one rank of a run over such pairs.

    python madeup_pairs.py MODEL POLICY OUT JSON

computes the first step of a run whose reference is MODEL and whose weights are then those of POLICY.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.distributed.tensor import DTensor

from caravan.terminal import Progress
from caravan.train import launch, model, prepare
from caravan.train.config import DPOConfig
from caravan.train.dpo import Dpo
from caravan.train.launch import World
from caravan.train.loader import Bin, batches, share
from caravan.train.prepare import Data
from caravan.train.rows import Rows
from caravan.train.template import Template
from caravan.train.tokens import Tokens
from madeup import tokens_of

QUIET = Progress(quiet=True)
ALONE = World(0, 1, 0, 1, 1, torch.device("cpu"), None, None)


def random_pairs(seed: int, pairs: int, vocabulary: int = 400, longest: int = 30, apart: bool = False) -> Tokens:
    """Ragged pairs of random tokens after shared prompts, of three sources; chosen answers may have a second turn.

    `apart`: chosen answers are of the lower half of the vocabulary, rejected ones of the upper half.
    """
    rng = np.random.default_rng(seed)
    half = vocabulary // 2
    ids, turns = [], []
    for _ in range(pairs):
        prompt = rng.integers(0, vocabulary, int(rng.integers(1, longest))).tolist()
        for low, high in ((0, half if apart else vocabulary), (half if apart else 0, vocabulary)):
            first, between, second = (int(n) for n in rng.integers((1, 0, 1), (longest, 4, longest)))
            ids.append(prompt + rng.integers(low, high, first + between + second).tolist())
            turns.append([0] * len(prompt) + [1] * first + [0] * between + [2] * second)
    made = tokens_of(ids, turns, [n // 2 % 3 for n in range(2 * pairs)])
    return replace(made, fingerprint=f"made up {seed} {pairs} {vocabulary} {longest} {apart}")


def data_of(tokens: Tokens, held_out: Tokens | None = None) -> Data:
    """What a run reads, but tokens alone."""
    return Data("none", None, cast(Template, None), cast(Rows, None), tokens, held_out)


def objective_of(folder: Path, tokens: Tokens, config: DPOConfig, world: World = ALONE) -> Dpo:
    """The objective of a run, as the run itself builds it."""
    built = prepare.build(config, folder, data_of(tokens), world)
    assert isinstance(built, Dpo)
    return built


def louder(folder: Path, factor: float = 4.0) -> Path:
    """Scale a model's matrices: predictions of a fresh one are so flat that any formula would fit."""
    file = folder / "model.safetensors"
    tensors = {name: t * factor if t.ndim > 1 else t for name, t in load_file(file).items()}
    save_file(tensors, file, {"format": "pt"})
    return folder


def take(objective: Dpo, tokens: Tokens, bins: Sequence[Bin], scale: float) -> tuple[float, dict[str, Any]]:
    """Forward and backward of these bins: the scaled loss, and the report."""
    loss, sums, counts = 0.0, [], []
    for batch in batches(tokens, bins, objective.group, torch.device("cpu")):
        outcome = objective(batch, scale)
        outcome.loss.backward()
        assert outcome.loss.dtype == outcome.sums.dtype == torch.float32
        loss += float(outcome.loss.detach())
        sums.append(outcome.sums.double())
        counts.append(outcome.counts.double())
    return loss, objective.report(torch.stack(sums).sum(0).tolist(), torch.stack(counts).sum(0).tolist())


def gradients(module: torch.nn.Module) -> dict[str, Any]:
    """Whole gradients by name."""
    named = ((name, p.grad) for name, p in module.named_parameters() if p.grad is not None)
    return {name: (g.full_tensor() if isinstance(g, DTensor) else g).numpy() for name, g in named}


def main(folder: str, policy: str, out: str, options: str) -> None:
    """One rank, in fp32 and then in bf16."""
    asked = json.loads(options)
    tokens = random_pairs(**asked["pairs"])
    with launch.join(DPOConfig(**asked["config"])) as world:
        for precision in ("fp32", "bf16"):
            config = DPOConfig(**asked["config"] | {"precision": precision})
            objective = objective_of(Path(folder), tokens, config, world)
            prepare.refer(objective, data_of(tokens), config, Path(folder), world, QUIET)
            order = prepare.order_of(config, tokens, objective.group, world.size)
            mine = share(order.step(0), world.rank, world.size)
            _, before = take(objective, tokens, mine, 1.0)
            objective.zero_grad()
            model.load_weights(objective.model, Path(policy))
            loss, _ = take(objective, tokens, mine, world.size / config.batch_size)
            total = world.sum(torch.tensor(loss / world.size, dtype=torch.float64)).item()
            whole = gradients(objective.model)
            arrays: dict[str, Any] = {"known": objective.known[tokens.fingerprint], "margin": before["margin"]}
            np.savez(f"{out}.{precision}.{world.rank}", loss=total, **arrays, **whole)


if __name__ == "__main__":
    main(*sys.argv[1:])
