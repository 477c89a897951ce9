"""`curate contamination-check`: which benchmark items leaked into a data set, and through which rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from caravan.curate import benchmarks as choices
from caravan.curate import leaks
from caravan.curate.convert import FileConverted
from caravan.curate.engine import StartMethod
from caravan.curate.shards import write_table
from caravan.curate.single import gather_data
from caravan.errors import UserError
from caravan.mixtures.manifest import BenchmarkRecord
from caravan.terminal import Progress

TABLE = "contamination.parquet"


@dataclass(frozen=True)
class Check:
    """Per benchmark, how many items and rows were hit; `lines` are those of contamination.parquet."""

    records: list[BenchmarkRecord]
    groups: pl.DataFrame
    lines: pl.DataFrame
    rows: int
    max_leaked: float
    embedded: bool
    files: list[FileConverted]  # with what was refused, and so not compared

    @property
    def matches(self) -> pl.DataFrame:
        """The leaks: suspected ones and variants are not among them."""
        return leaks.hits(self.lines)

    @property
    def worst(self) -> float:
        """The largest share of items hit in any one benchmark; items too short to check are in the denominator."""
        return max((record.share for record in self.records), default=0.0)

    @property
    def leaked(self) -> bool:
        """Whether some benchmark is over the limit."""
        return self.worst > self.max_leaked


def contamination_check(
    data: Any,
    benchmarks: str = "",
    *,
    out: str | Path | None = None,
    max_leaked: float = 0.01,
    converter: str | None = None,
    columns: dict[str, str] | None = None,
    workers: int = 1,
    start_method: StartMethod | None = None,
    progress: Progress | None = None,
) -> Check:
    """Compare a data set (a path, or a frame of raw rows) with benchmark items; `benchmarks` as `--benchmarks`.

    With `out` what was found, suspected ones and variants too, is written there as contamination.parquet. Items too
    short to check count as not hit, in the denominator. `UserError` when the data or a benchmark cannot be read.
    """
    progress = progress or Progress(quiet=True)
    if out is not None and Path(out).exists() and not Path(out).is_dir():
        raise UserError("is not a folder", where=str(out), fix="name another with --out")
    for note in choices.notes(benchmarks):
        progress.say(note)
    gathered, _ = gather_data(
        data,
        {"contamination": {"benchmarks": benchmarks}},
        converter=converter,
        columns=columns,
        workers=workers,
        start_method=start_method,
        progress=progress,
    )
    if not gathered.rows.height:
        codes = ", ".join(sorted({code for made in gathered.files for code in made.codes}))
        raise UserError("nothing to compare: no row gave an example", where=str(data), fix=f"refused for: {codes}")
    (active,) = gathered.filters
    lines = leaks.table(gathered.rows, active.limits)
    if out is not None:
        Path(out).mkdir(parents=True, exist_ok=True)
        write_table(lines.to_arrow(compat_level=pl.CompatLevel.oldest()), Path(out) / TABLE)
    records = leaks.records(lines, active.settings)
    groups = leaks.groups(lines, active.settings)
    embedded = any(record.embedded for record in records)
    return Check(records, groups, lines, gathered.rows.height, max_leaked, embedded, gathered.files)
