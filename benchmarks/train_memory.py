"""The planned memory of training beside what a GPU allocates: one table, over models and options.

    python benchmarks/train_memory.py [--out memory.json]

Each line is a model with random weights on one GPU, prepared and computed as the trainer does it, over two steps of two
full bins in which every position carries loss: the worst that a plan speaks of. `plan` is what `train plan` traces,
`closed form` what a run's own check at its start says, `peak` the most that torch had allocated. What does not fit the
GPU is not run, and its line says so. Without a GPU there is nothing to measure.
"""

import argparse
import gc
import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

GIB = 2**30
RUNS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("pythia-1b", {}),
    ("pythia-1b", {"micro_batch_size": 8}),
    ("pythia-1b", {"micro_batch_size": 8, "compile": True}),
    ("pythia-1b", {"micro_batch_size": 4, "activation_checkpointing": "selective"}),
    ("pythia-1b", {"micro_batch_size": 4, "activation_checkpointing": "none"}),
    ("pythia-1b", {"precision": "fp32"}),
    ("opt-1.3b", {"micro_batch_size": 4}),
    ("pythia-2.8b", {"micro_batch_size": 4}),
    ("llama-7b", {"micro_batch_size": 4, "lora_rank": 16}),
    ("llama-3-8b", {"lora_rank": 16}),
    ("llama-7b", {}),
)


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("memory.json"))
    given = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("error: no GPU here, and nothing else to measure")
    room = torch.cuda.mem_get_info()[1]
    print(f"{torch.cuda.get_device_name()}, {room / GIB:.1f} GiB; torch {torch.__version__}")
    print(f"{'model':<12}{'options':<58}{'plan':>8}{'closed form':>13}{'peak':>8}{'peak/plan':>11}   GiB", flush=True)
    rows = []
    with ProcessPoolExecutor(6, get_context("spawn")) as pool:
        for (shape, options), (traced, closed, total) in zip(RUNS, pool.map(planned, RUNS), strict=True):
            told = ", ".join(f"{name}={value}" for name, value in options.items())
            row: dict[str, Any] = {"model": shape, "options": options, "plan": traced / GIB, "closed": closed / GIB}
            start = f"{shape:<12}{told:<58}{traced / GIB:>8.2f}{closed / GIB:>13.2f}"
            if total > room:
                print(f"{start}  needs {total / GIB:.1f} GiB", flush=True)
                continue
            try:
                row["peak"] = measured(shape, options) / GIB
                print(f"{start}{row['peak']:>8.2f}{row['peak'] / row['plan']:>11.2f}", flush=True)
            except torch.cuda.OutOfMemoryError as error:
                row["failed"] = str(error).splitlines()[0]
                print(f"{start}  {row['failed']}", flush=True)
            rows.append(row)
            given.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def planned(run: tuple[str, dict[str, Any]]) -> tuple[float, float, float]:
    """Bytes that will be allocated, by the trace and by arithmetic; and all that the plan says is needed."""
    import torch

    from caravan.train import shapes
    from caravan.train.closed_form import sizes
    from caravan.train.config import TrainConfig
    from caravan.train.need import Setting, closed_phases, need
    from caravan.train.trace import trace_scaled

    torch.set_num_threads(1)
    shape, options = run
    config = TrainConfig(model=shape, **options)
    setting = Setting(shape, shapes.shape(shape), config, 1)
    size = sizes(setting.config, config)
    traced = need(trace_scaled(setting.config, config, 1), setting, size)
    return traced.parts.total, need(closed_phases(setting), setting, size).parts.total, traced.total


def measured(shape: str, options: dict[str, Any]) -> int:
    """The peak of allocated bytes over two steps of two full bins."""
    import torch

    from caravan.train import loop, model, prepare, shapes, shard
    from caravan.train.config import TrainConfig
    from caravan.train.launch import join
    from caravan.train.objective import Sft

    run = TrainConfig(model=shape, **options)
    gc.collect()
    torch.cuda.empty_cache()
    with join(run) as world:
        causal = model.skeleton(shapes.shape(shape))
        if run.lora_rank:
            model.add_adapters(causal, run)
        objective = Sft(causal, ["made up"])
        shard.prepare(objective, run, world.mesh)
        model.materialise(objective, world.device)
        model.random_weights(causal, 0)
        optimizer = prepare.adamw(objective, run)
        torch.cuda.reset_peak_memory_stats()
        for _ in range(2):
            for _ in range(2):
                objective(full_bin(run, causal.config.vocab_size), 1e-5).loss.backward()
            loop.clip(objective, run.clip)
            optimizer.step()
            optimizer.zero_grad()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()


def full_bin(run: Any, vocabulary: int) -> Any:
    """Conversations of the maximal length, every position but the first of each carrying loss."""
    import numpy as np
    import polars as pl
    import torch

    from caravan.train.loader import batch_of
    from caravan.train.tokens import Tokens

    count, length = run.micro_batch_size, run.max_length
    ids = np.random.default_rng(0).integers(0, vocabulary, count * length).astype(np.int32)
    turns = np.ones_like(ids, np.uint8)
    turns[::length] = 0
    tokens = Tokens(
        ids=ids,
        turns=turns,
        offsets=np.arange(count + 1) * length,
        source=np.zeros(count, np.int16),
        sources=["made up"],
        row=np.arange(count),
        row_ids=[str(n) for n in range(count)],
        account={},
        fingerprint="made up",
        records=pl.DataFrame(),
    )
    return batch_of(tokens, range(count), torch.device("cuda"))


if __name__ == "__main__":
    main()
