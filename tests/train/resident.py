"""Run as a process: trains a random model two steps with the trainer's own code, and prints what memory that took.

    python resident.py SHAPE OPTIONS BINS

SHAPE is a JSON object of a Llama's configuration, OPTIONS one of TrainConfig's keys, BINS how many a step has. Prints
the MiB that were resident at the peak beyond what was before.
"""

import json
import resource
import sys
from pathlib import Path

import torch
from transformers import LlamaConfig

from caravan.train import loop, model, prepare, shard
from caravan.train.closed_form import bin_tokens
from caravan.train.config import TrainConfig
from caravan.train.loader import Batch
from caravan.train.objective import Sft


def _train(config: LlamaConfig, run: TrainConfig, bins: int) -> None:
    causal = model.skeleton(config)
    objective = Sft(causal, ["data"]).train()
    shard.prepare(objective, run, None)
    model.materialise(objective, torch.device("cpu"))
    model.random_weights(causal, 0)
    optimizer = prepare.adamw(objective, run)
    for _ in range(2):
        for _ in range(bins):
            tokens = bin_tokens(run)
            at = torch.arange(tokens)
            batch = Batch(
                ids=at[None] % 64,
                positions=at[None],
                boundaries=(0, tokens),
                at=at,
                targets=at % 64,
                segment=torch.zeros_like(at),
                turn=torch.ones_like(at),
                source=at[:1],
                rows=(0,),
            )
            objective(batch, 1 / tokens).loss.backward()
        loop.clip(objective, run.clip)
        optimizer.step()
        optimizer.zero_grad()


def _peak() -> float:
    """MiB. Linux's `ru_maxrss` would do, but begins with that of the process which started this one."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    torch.set_num_threads(1)
    shape, given = json.loads(sys.argv[1]), TrainConfig(**json.loads(sys.argv[2]))
    small = {"vocab_size": 64, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2}
    _train(LlamaConfig(**shape | small), given.model_copy(update={"max_length": 64}), 1)  # loads code and kernels
    before = _peak()
    _train(LlamaConfig(**shape), given, int(sys.argv[3]))
    sys.stdout.write(f"{_peak() - before}\n")
