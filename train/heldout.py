"""Evaluation within a run: the loss on held-out rows, and how many answers greedy decoding gives back word for word.

An answer that comes back word for word from held-out rows is an easy one; from training rows it is the sign of
memorising that the paper names at three and more epochs. Both shares stand side by side.
"""

from typing import Any

import numpy as np
import torch

from caravan.train import shard
from caravan.train.launch import StopFlag, World
from caravan.train.loader import batches, share
from caravan.train.objective import Objective
from caravan.train.pack import pack_evenly
from caravan.train.tokens import Tokens

SAMPLE = 256  # items of the training data that are looked at again


def evaluate(
    objective: Objective,
    tokens: Tokens,
    items: list[int],
    world: World,
    stop: StopFlag,
    capacity: int,
) -> dict[str, Any] | None:
    """The objective's report over these items; None if a stop was asked for meanwhile. Collective."""
    lengths = tokens.lengths.reshape(-1, objective.group).sum(1)[items].tolist()
    bins = [tuple(items[i] for i in chosen) for chosen in pack_evenly(lengths, capacity, world.size)]
    mine = share(bins, world.rank, world.size)
    sums = counts = torch.zeros(())
    objective.eval()
    try:
        for batch in batches(tokens, mine, objective.group, world.device):
            if world.any(stop.asked() is not None):
                return None
            with torch.no_grad():
                outcome = objective(batch, 1.0)
            sums, counts = sums + outcome.sums.double().cpu(), counts + outcome.counts.double().cpu()
    finally:
        objective.train()
        shard.reshard(objective)
    return objective.report(world.sum(sums).tolist(), world.sum(counts).tolist())


def training_sample(tokens: Tokens, group: int, seed: int) -> list[int]:
    """A fixed sample of the training items."""
    keys = np.random.Philox(key=np.array([seed, 2**33], np.uint64)).random_raw(len(tokens) // group)
    return sorted(np.argsort(keys, kind="stable")[:SAMPLE].tolist())
