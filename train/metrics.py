"""The log of a run: one JSON object a step in metrics.jsonl, a line for people, and trackers where they are asked for.

metrics.jsonl is the truth: after a resume it reads as if the run had never been broken, but for the figures of speed.
Write nothing into a record that is not a figure of the step: records travel to trackers.
"""

import json
import math
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from caravan.cache import written_aside
from caravan.errors import UserError
from caravan.terminal import Progress, printable

METRICS = "metrics.jsonl"
SPEED = ("seconds", "tokens_per_second_per_gpu", "mfu", "memory_gib")  # by the clock: under "speed" in a record
MODULES = {"tensorboard": "tensorboard", "wandb": "wandb"}
SHOWN = {
    "loss": "loss {:.4f}",
    "margin": "margin {:.3f}",
    "lr": "lr {:.2g}",
    "grad_norm": "grad {:.2f}",
    "tokens_per_second_per_gpu": "{:,.0f} tok/s/GPU",
    "mfu": "MFU {:.0%}",
    "memory_gib": "{:.1f} GiB",
}
OFTEN, SELDOM = 100, 60.0  # without a terminal: so many lines a run, and one in so many seconds


class Ranked(Protocol):
    """What is needed of a `World`: only rank 0 writes."""

    @property
    def rank(self) -> int:
        """This process's number."""


class Metrics:
    """Logs the steps after `done` of `total`; a context manager, or `close` it.

    Records of later steps, left by a run that was ended, and a last line cut short are removed first.
    Raises `UserError` when a tracker is asked for that is not installed.
    """

    def __init__(
        self, folder: Path, world: Ranked, trackers: Sequence[str], total: int, done: int, progress: Progress
    ) -> None:
        for name in trackers:
            if find_spec(MODULES[name]) is None:
                raise UserError(f"{name} is not installed", where="--trackers", fix=f"pip install {MODULES[name]}")
        self._writes = world.rank == 0
        self._trackers: list[Callable[[dict[str, float], int], None]] = []
        self._closers: list[Callable[[], None]] = []
        if not self._writes:
            return
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / METRICS
        cut(path, done)
        self._file = path.open("a", encoding="utf-8")
        self._line = Line(total, done, progress)
        self._closers += [self._line.close, self._file.close]
        for name in trackers:
            log, close = (_tensorboard if name == "tensorboard" else _wandb)(folder, done)
            self._trackers.append(log)
            self._closers.append(close)

    def log(self, record: Mapping[str, Any]) -> None:
        """Write one step's record; `step` counts from 1. A figure that is not finite is written as null."""
        if not self._writes:
            return
        clean = _clean(record)
        self._file.write(json.dumps(clean, ensure_ascii=False, sort_keys=True, separators=(",", ":")) + "\n")
        self._file.flush()
        self._line.show(clean)
        flat = dict(_flat(clean))
        for tracker in self._trackers:
            tracker(flat, clean["step"])

    def sync(self) -> None:
        """Have all records on the disk: call it before a checkpoint is, which must not outlive them."""
        if self._writes:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """End the line and the trackers."""
        if self._writes:
            self.sync()
            self._writes = False
            for close in self._closers:
                close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def read(path: Path) -> list[dict[str, Any]]:
    """The records of a metrics.jsonl, without lines that were cut short; none when there is no file."""
    return [record for _, record in _records(path)]


def cut(path: Path, done: int) -> None:
    """Keep the whole records of steps up to `done`, each as it was written; the file changes at once or not at all."""
    if path.exists():
        kept = "".join(line + "\n" for line, record in _records(path) if record["step"] <= done)
        with written_aside(path) as aside:
            aside.write_text(kept, encoding="utf-8")


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("step"), int):
            yield line, record


def _clean(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _clean(part) for name, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _flat(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The figures of a record, nested names joined by a slash."""
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            yield prefix + name, value


Tracker = tuple[Callable[[dict[str, float], int], None], Callable[[], None]]


def _tensorboard(folder: Path, done: int) -> Tracker:
    from torch.utils.tensorboard import SummaryWriter

    writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=done + 1)

    def log(figures: dict[str, float], step: int) -> None:
        for name, value in figures.items():
            if name != "step":
                writer.add_scalar(name, value, step)

    return log, writer.close


def _wandb(folder: Path, done: int) -> Tracker:
    """One W&B run a folder, gone on with after a resume; it is told the figures and nothing of the environment."""
    import wandb  # type: ignore[import-not-found,unused-ignore]

    name = folder / "wandb-id"
    if not done or not name.exists():
        name.write_text(uuid.uuid4().hex[:16], encoding="utf-8")
    try:
        run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "caravan"),
            name=folder.resolve().name,
            id=name.read_text(encoding="utf-8"),
            resume="allow",
            dir=str(folder),
            settings=wandb.Settings(console="off", disable_git=True, save_code=False),
        )
    except wandb.Error as error:
        raise UserError(
            f"W&B does not start: {str(error).splitlines()[0]}",
            where="--trackers",
            fix="`wandb login` first, or set WANDB_MODE=offline",
        ) from None
    run.define_metric("*", step_metric="step")
    return (lambda figures, _: run.log(figures)), run.finish


class Line:
    """The line for people: it stays and changes on a terminal; elsewhere a new one now and then."""

    def __init__(self, total: int, done: int, progress: Progress) -> None:
        self._total, self._done, self._progress = total, done, progress
        self._often = max(total // OFTEN, 1)
        self._began: tuple[float, int] | None = None
        self._said = -math.inf
        self._live: Any = None
        if not progress._quiet and sys.stderr is not None and sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), auto_refresh=False)

    def show(self, record: Mapping[str, Any]) -> None:
        """Show a step."""
        now = time.monotonic()
        step = record["step"]
        self._began = self._began or (now, step)
        text = line(record, self._total, self._left(record, now))
        if self._live is not None:
            from rich.text import Text

            if not self._live.is_started:
                self._live.start()
            # The cursor rests a line below: what others draw meanwhile begins there.
            self._live.update(Text(text + "\n", no_wrap=True, overflow="ellipsis"), refresh=True)
        elif step in (self._done + 1, self._total) or step % self._often == 0 or now - self._said >= SELDOM:
            self._said = now
            self._progress.say(text)
        for name, figures in record.get("eval", {}).items():
            self._progress.say(f"step {step:,}  {evaluation(name, figures)}")

    def close(self) -> None:
        """Leave the last line where it is."""
        if self._live is not None and self._live.is_started:
            self._live.stop()

    def _left(self, record: Mapping[str, Any], now: float) -> float | None:
        """Seconds left, by the mean of this process's steps, with all that came between them."""
        began, first = self._began or (now, record["step"])
        if record["step"] > first:
            seconds = (now - began) / (record["step"] - first)
        else:
            seconds = record.get("speed", {}).get("seconds")
        return None if seconds is None else seconds * (self._total - record["step"])


def line(record: Mapping[str, Any], total: int, left: float | None) -> str:
    """A step's figures in one line."""
    figures = {**record, **record.get("speed", {})}
    parts = [f"step {figures['step']:,}/{total:,}"]
    for name, shown in SHOWN.items():
        if figures.get(name) is not None:
            parts.append(shown.format(figures[name]).replace("%", " %"))
    if "loss" in record and record["loss"] is None:
        parts.append("the loss is not finite")
    if left is not None:
        minutes, seconds = divmod(round(left), 60)
        parts.append(f"{minutes // 60}:{minutes % 60:02}:{seconds:02} left")
    return "  ".join(parts)


def evaluation(name: str, figures: Mapping[str, Any]) -> str:
    """An evaluation's figures in one line; those by source and turn are left to the file."""
    shown = [f"{what} {value:.4g}" for what, value in figures.items() if isinstance(value, float | int)]
    return printable("  ".join([name.replace("_", " "), *shown]))
