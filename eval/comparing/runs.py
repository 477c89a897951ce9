"""A run's scored items, whoever wrote them: this program, inspect_ai or lm-eval."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl

from caravan.errors import UserError
from caravan.eval.statistics import Average

Key = tuple[str, str, str]
Source = Literal["caravan", "inspect_ai", "lm-eval"]
NO_SCORE = "unjudged"
SCHEMA = {
    "id": pl.String,
    "group": pl.String,
    "cluster": pl.String,
    "score": pl.Float64,
    "status": pl.String,
    "answer": pl.String,
    "prompt": pl.String,
    "data": pl.String,
}


class Row(NamedTuple):
    """One item of a run.

    `status` is as in `caravan.eval.items`. `answer` is the first part of what was read from the output; `prompt` and
    `data` are hashes of what was asked and of the item itself, "" where they are not known.
    """

    id: str
    group: str = ""
    cluster: str = ""
    score: float | None = None
    status: str = "scored"
    answer: str = ""
    prompt: str = ""
    data: str = ""


@dataclass(frozen=True)
class Table:
    """The items of one benchmark, asked in one way (`variant`), by one metric; `frame` has the columns of `SCHEMA`.

    `about` names what two runs must have in common to be comparable (protocol, shots, version). `headline` is false
    for a further metric of items that have another one already.
    """

    benchmark: str
    variant: str
    metric: str
    frame: pl.DataFrame
    headline: bool = True
    average: Average = "micro"
    lower_is_better: bool = False
    about: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """What two runs' tables are matched by."""
        return (self.benchmark, self.variant, self.metric)


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure that a log publishes, and what its own items give.

    `refused` where items are missing or the figure is no mean: `why` says so.
    """

    what: str
    published: float | None
    recomputed: float | None
    verdict: Literal["equal", "differs", "refused"]
    why: str = ""


@dataclass(frozen=True)
class Run:
    """All that was read of one run. `families` names benchmarks whose parts are all here: {family: parts}."""

    name: str
    source: Source
    path: str
    tables: list[Table]
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    families: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def frame_of(rows: Iterable[Row]) -> tuple[pl.DataFrame, int]:
    """The rows as a frame, the first of each id, and how many others there were."""
    found: dict[str, Row] = {}
    repeated = 0
    for row in rows:
        repeated += row.id in found
        found.setdefault(row.id, row)
    return pl.DataFrame([*found.values()], schema=SCHEMA, orient="row"), repeated


def clusters_of(frame: pl.DataFrame) -> list[str] | None:
    """The cluster of each item, its own where it shares nothing; None where no item shares anything."""
    pairs = list(zip(frame["cluster"], frame["id"], strict=True))
    return [cluster or f"item {own_id}" for cluster, own_id in pairs] if any(cluster for cluster, _ in pairs) else None


def checked(what: str, published: float | None, recomputed: float | None, refused: str = "") -> Figure:
    """The figure, equal to the last digits that summing in another order leaves alone; `refused` says why it cannot."""
    if published is None or refused or recomputed is None:
        why = "the log gives no number" if published is None else refused or "its items do not tell"
        return Figure(what, published, recomputed, "refused", why)
    same = abs(published - recomputed) <= 1e-9 * max(1.0, abs(published))
    return Figure(what, published, recomputed, "equal" if same else "differs")


def sample_stderr(values: np.ndarray[Any, np.dtype[np.float64]]) -> float | None:
    """sqrt(sum (s-m)^2 / (n-1) / n), as both harnesses print it; None where n < 2."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None


def read_run(path: str | Path, name: str = "") -> Run:
    """What is at `path`: a run's folder, a log of inspect_ai or lm-eval, or a folder of such logs of one model.

    `name` replaces the model's. `UserError` where nothing can be made of it.
    """
    found = _read(Path(path))
    if not found.tables:
        why = found.notes[0] if found.notes else "it has no scored items"
        raise UserError(f"nothing to compare: {why}", where=str(path))
    own = Path(found.name).name if found.name.startswith(("/", ".")) else found.name  # of a folder its last part
    return replace(found, name=name or own or found.name)


def _read(path: Path) -> Run:
    from caravan.eval.comparing import inspect_logs, lm_eval_logs, own_runs

    if not path.exists():
        raise UserError("no such file or folder", where=str(path))
    if path.is_dir():
        if (path / own_runs.ITEMS).is_file():
            return own_runs.read(path)
        readers: list[tuple[str, Callable[[Path], Run]]] = [("*.eval", inspect_logs.read_folder)]
        readers += [("samples_*.json*", lm_eval_logs.read), ("*.json", inspect_logs.read_folder)]
        for pattern, reader in readers:
            if any(one.is_file() for one in path.rglob(pattern)):
                return reader(path)
        raise UserError("no run here, and no log of inspect_ai or lm-eval", where=str(path), fix=EXPECTED)
    if path.suffix == ".parquet":
        return own_runs.read(path)
    with path.open("rb") as file:
        begins = file.read(4)
    if path.suffix == ".eval" or begins == b"PK\x03\x04":
        return inspect_logs.read(path)
    if path.suffix == ".jsonl" or path.name.startswith("samples_"):
        return lm_eval_logs.read(path)
    if path.suffix == ".json":
        return _read_json(path)
    raise UserError("not a run or a log that is known", where=str(path), fix=EXPECTED)


def _read_json(path: Path) -> Run:
    from caravan.eval.comparing import inspect_logs, lm_eval_logs
    from caravan.eval.comparing.reading import json_file

    value = json_file(path)
    if isinstance(value, dict) and isinstance(value.get("eval"), dict):
        return inspect_logs.read(path)
    if (isinstance(value, dict) and isinstance(value.get("results"), dict)) or isinstance(value, list):
        return lm_eval_logs.read(path)
    raise UserError("JSON of another kind than the logs that are known", where=str(path), fix=EXPECTED)


EXPECTED = "name the folder of a run, an inspect_ai log (.eval, .json), or samples_*.jsonl of lm-eval"


def joined(runs: list[Run], path: Path) -> Run:
    """Several logs as one run; `UserError` where they are of several models, or two have the same table."""
    names = sorted({run.name for run in runs})
    if len(names) > 1:
        raise UserError(
            f"logs of {len(names)} models ({', '.join(names[:3])})",
            where=str(path),
            fix="name one log, or a folder each",
        )
    seen: dict[Key, str] = {}
    for run in runs:
        for table in run.tables:
            if table.key in seen:
                raise UserError(
                    f"two logs of {table.benchmark}: {Path(seen[table.key]).name} and {Path(run.path).name}",
                    where=str(path),
                    fix="name one of them; seeds of one setting are given as NAME=RUN1,RUN2",
                )
            seen[table.key] = run.path
    families: dict[str, tuple[str, ...]] = {}
    for run in runs:
        families |= run.families
    return Run(
        names[0],
        runs[0].source,
        str(path),
        [table for run in runs for table in run.tables],
        [figure for run in runs for figure in run.figures],
        [note for run in runs for note in run.notes],
        families,
    )
