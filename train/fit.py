"""One training run from configuration to exported model: what `train fsdp` and `train dpo` do, and a notebook can."""

import fcntl
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caravan.errors import UserError
from caravan.terminal import Progress
from caravan.train import curve, dpo, hub, loop, plan, prepare
from caravan.train.checkpoint import agree
from caravan.train.config import TrainConfig
from caravan.train.export import export, taken
from caravan.train.launch import StopFlag, World, join

MODEL, LEFT_OUT, LOCK = "model", "left_out.parquet", ".lock"


@dataclass(frozen=True)
class Trained:
    """What came of a run. `model` is None for one that saved and stopped early, `stopped` says why."""

    folder: Path
    model: Path | None
    steps: int
    total: int
    stopped: str | None
    figures: dict[str, Any]
    predicted_gib: float
    peak_gib: float
    rank: int


def fit(config: TrainConfig, progress: Progress | None = None) -> Trained:
    """Train as the configuration says, or go on where an earlier run with the same one stopped.

    Runs in every process of a group (see `launch`), or alone. Writes the run's folder: `train.toml`, `metrics.jsonl`,
    `checkpoints/step-N`, `left_out.parquet`, `loss.svg` and the exported `model/`. Raises `UserError` for bad input,
    for a run that cannot fit the devices, for a checkpoint of another run, and for a loss that is not finite.
    """
    progress = progress or Progress(quiet=True)
    predicted = plan.check_fits(config)
    with join(config) as world, StopFlag(config.time_budget) as stop, ExitStack() as stack:
        if world.rank:
            progress = Progress(quiet=True, warns=False)
        if not world.local_rank:  # one process a node fetches and tokenises; the others find what it made
            prepare.read_data(config, hub.find_model(config.model), progress)
        world.barrier()
        folder = hub.find_model(config.model)
        data = prepare.read_data(config, folder, Progress(quiet=True, warns=False))
        if not world.rank:
            _tell_data(data, config, progress)
        out = Path(config.out)
        stack.enter_context(_own_folder(out, data, world))
        objective = prepare.build(config, folder, data, world)
        if isinstance(objective, dpo.Dpo):
            prepare.refer(objective, data, config, folder, world, progress)
        result = loop.run(config, data, objective, world, stop, progress)
        if result.stopped is None:  # also where nothing was left to train: what lies there may be of an earlier step
            export(
                objective,
                world,
                out / MODEL,
                config=config,
                tokenizer=data.tokenizer,
                template=data.template,
                rows=data.rows,
                tokens=data.tokens,
                results=result.figures,
            )
        if not world.rank:
            curve.write(out)
        return Trained(
            folder=out,
            model=out / MODEL if result.stopped is None else None,
            steps=result.steps,
            total=result.total,
            stopped=result.stopped,
            figures=result.figures,
            predicted_gib=predicted,
            peak_gib=result.peak_gib,
            rank=world.rank,
        )


@contextmanager
def _own_folder(out: Path, data: prepare.Data, world: World) -> Iterator[None]:
    """Make the run's folder, with what is left out of the run in it, and keep other runs out of it. Collective."""
    error = held = None
    if not world.rank:
        try:
            out.mkdir(parents=True, exist_ok=True)
            held = (out / LOCK).open("ab")  # the system lets go of it when the process ends, however that ends
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            data.tokens.left_out.write_parquet(out / LEFT_OUT)
            error = taken(out / MODEL)  # said now, not after the last step
        except BlockingIOError:
            error = UserError("another run is writing here", where=str(out), fix="wait for it, or name another --out")
        except OSError as cause:
            error = UserError(cause.strerror or "cannot be written", where=str(out), fix="name another --out")
    try:
        agree(world, error)
        yield
    finally:
        if held is not None:
            held.close()


def _tell_data(data: prepare.Data, config: TrainConfig, progress: Progress) -> None:
    """What is trained on, and what a reader must not miss: rows left out, and how much the length cuts away."""
    accounts = data.tokens.account.values()
    left_out = sum((Counter(account.left_out) for account in accounts), Counter[str]())
    supervised, cut = sum(a.supervised for a in accounts), sum(a.cut_supervised for a in accounts)
    held_out = f"; {len(data.held_out):,} rows held out" if data.held_out is not None else ""
    progress.say(
        f"{len(data.tokens):,} rows, {len(data.tokens.ids):,} tokens, {supervised:,} of them carry loss{held_out}"
    )
    if left_out:
        reasons = ", ".join(f"{code} {count:,}" for code, count in sorted(left_out.items()))
        progress.warn(f"{left_out.total():,} rows are left out ({reasons}): {config.out}/{LEFT_OUT}")
    if cut:
        progress.warn(
            f"--max-length {config.max_length} cuts away {cut / (cut + supervised):.1%} of the tokens that would carry"
            " loss: `train check` says what other lengths would"
        )
