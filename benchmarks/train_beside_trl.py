"""Tokens per CPU second and peak memory of one thread: caravan's trainer beside TRL's SFTTrainer, same rows, same run.

    python benchmarks/train_beside_trl.py MODEL MIX [--trl PYTHON] [--lengths 512,1024] [--steps 8] [--repeats 2]

MODEL is a Hugging Face folder, MIX a mixture, PYTHON an interpreter that has trl installed (default: this one). Both
train in fp32 on a single thread, a step is one full bin (best-fit packing on both sides), AdamW, no activation
checkpointing, the tokenizer's own template. Each loop runs in a process of its own, the loops take turns, and the first
step is not counted. TRL trains on every token of a conversation, as it does by default; caravan once on assistant
tokens, as it does by default, and once with TRL's labels.

`useful` are assistant tokens per CPU second: what the step was for. CPU seconds depend on the machine and on what else
runs there: compare ratios of one run.
"""

import argparse
import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

LOOPS = ("caravan assistant", "caravan all", "trl all")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("mix")
    parser.add_argument("--trl", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--lengths", default="512,1024")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--loop", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.loop:
        length = int(given.lengths)
        measure = trl_loop if given.loop.startswith("trl") else caravan_loop
        print(json.dumps(measure(given.model, given.mix, length, given.steps, given.loop)))
        return
    for length in map(int, given.lengths.split(",")):
        runs: dict[str, list[dict[str, float]]] = defaultdict(list)
        for _ in range(given.repeats):
            for loop in LOOPS:
                runs[loop].append(_in_own_process(given, loop, length))
        _print(length, {loop: _mean(some) for loop, some in runs.items()})


def _in_own_process(given: argparse.Namespace, loop: str, length: int) -> dict[str, float]:
    python = given.trl if loop.startswith("trl") else sys.executable
    command = [python, "-W", "ignore", __file__, given.model, given.mix, "--loop", loop]
    command += ["--lengths", str(length), "--steps", str(given.steps)]
    done = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def caravan_loop(model: str, mix: str, length: int, steps: int, loop: str) -> dict[str, float]:
    """The trainer's own functions, step by step, so that the first can be left out."""
    import torch

    from caravan.terminal import Progress
    from caravan.train import launch, prepare
    from caravan.train import loop as steps_of
    from caravan.train.config import TrainConfig
    from caravan.train.loader import share

    with tempfile.TemporaryDirectory() as folder:
        os.environ["CARAVAN_CACHE"] = folder
        config = TrainConfig(
            data=mix, model=model, template="tokenizer", max_length=length, precision="fp32", batch_size=1,
            batch_unit="bins", activation_checkpointing="none",
        )  # fmt: skip
        with launch.join(config) as world:
            data = prepare.read_data(config, Path(model), Progress(quiet=True))
            useful = int((data.tokens.turns != 0).sum()) / len(data.tokens.ids)
            if loop.endswith("all"):
                turns = data.tokens.turns.copy()
                turns[:] = 1
                turns[data.tokens.offsets[:-1]] = 0
                data = dataclasses.replace(data, tokens=dataclasses.replace(data.tokens, turns=turns))
            objective = prepare.build(config, Path(model), data, world)
            optimizer = prepare.adamw(objective, config)
            order = prepare.order_of(config, data.tokens, 1, 1)
            worth = objective.weights(data.tokens)
            clock, tokens, supervised, losses = Clock(), 0, 0.0, []
            for step in range(steps):
                bins = order.step(step)
                items = [item for items in bins for item in items]
                computed = steps_of.compute(objective, data, share(bins, 0, 1), 1 / worth[items].sum(), world)
                steps_of.clip(objective, config.clip)
                optimizer.step()
                optimizer.zero_grad()
                losses.append(float(computed.losses.sum()))
                if clock.step():
                    tokens += int(data.tokens.lengths[items].sum())
                    supervised += worth[items].sum()
        assert torch.get_num_threads() == 1
    return clock.figures(tokens, supervised if not loop.endswith("all") else tokens * useful, losses)


def trl_loop(model: str, mix: str, length: int, steps: int, _loop: str) -> dict[str, float]:
    """SFTTrainer as its documentation shows it; the callback only reads the clock."""
    import datasets
    import torch
    import transformers
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    clock = Clock()

    class Ticks(transformers.TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.step()

    rows = datasets.load_dataset("parquet", data_files=str(Path(mix)), split="train").select_columns("messages")
    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
            processing_class=transformers.AutoTokenizer.from_pretrained(model),
            train_dataset=rows,
            callbacks=[Ticks()],
            args=SFTConfig(
                output_dir=folder, max_steps=steps, per_device_train_batch_size=1, max_length=length, packing=True,
                packing_strategy="bfd", use_cpu=True, bf16=False, gradient_checkpointing=False, report_to=[],
                save_strategy="no", logging_steps=1, disable_tqdm=True, learning_rate=2e-5,
            ),
        )  # fmt: skip
        seen: list[int] = []
        collate = trainer.data_collator

        def counted(examples: Any) -> Any:
            batch = collate(examples)
            seen.append(batch["input_ids"].numel())
            return batch

        trainer.data_collator = counted
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return clock.figures(sum(seen[1:steps]), 0.0, losses)


class Clock:
    """CPU seconds and peak resident memory of this process, from the end of the first step on."""

    def __init__(self) -> None:
        self.start: float | None = None
        self.end = 0.0

    def step(self) -> bool:
        """A step has ended; whether it counts."""
        if self.start is None:
            self.start = time.process_time()
            return False
        self.end = time.process_time()
        return True

    def figures(self, tokens: float, useful: float, losses: list[float]) -> dict[str, float]:
        """What the parent prints."""
        assert self.start is not None
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        seconds = self.end - self.start
        return {"tokens": tokens, "useful": useful, "seconds": seconds, "peak_gb": peak, "last_loss": losses[-1]}


def _mean(runs: list[dict[str, float]]) -> dict[str, float]:
    total = {key: sum(run[key] for run in runs) for key in runs[0]}
    return {
        "tokens_per_s": total["tokens"] / total["seconds"],
        "useful_per_s": total["useful"] / total["seconds"],
        "peak_gb": total["peak_gb"] / len(runs),
    }


def _print(length: int, loops: dict[str, dict[str, float]]) -> None:
    trl = loops["trl all"]
    share = loops["caravan assistant"]["useful_per_s"] / loops["caravan assistant"]["tokens_per_s"]
    print(f"\nlength {length}; {share:.0%} of the tokens that caravan computes are an assistant's")
    print(f"{'loop and labels':<22}{'tokens/CPU s':>13}{'to TRL':>8}{'useful/CPU s':>14}{'peak GB':>9}{'to TRL':>8}")
    for loop, found in loops.items():
        speed, peak = found["tokens_per_s"] / trl["tokens_per_s"], found["peak_gb"] / trl["peak_gb"]
        useful = f"{found['useful_per_s']:.0f}" if found["useful_per_s"] else "–"
        print(f"{loop:<22}{found['tokens_per_s']:>13.1f}{speed:>8.2f}{useful:>14}{found['peak_gb']:>9.2f}{peak:>8.2f}")


if __name__ == "__main__":
    main()
