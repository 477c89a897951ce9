"""From files to one measured frame: convert and measure what the cache lacks, then load all of it in a fixed order."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from caravan.curate import convert, engine, measure
from caravan.curate.convert import FileConverted
from caravan.curate.engine import StartMethod
from caravan.curate.measure import ActiveFilter
from caravan.terminal import Progress


@dataclass(frozen=True)
class Gathered:
    """All examples of all files: Example columns, then each filter's measures. Sorted by source, file and row.

    Of files that give preferences, all of them then, the columns of Preference and no measures.
    """

    rows: pl.DataFrame
    files: list[FileConverted]
    filters: list[ActiveFilter]

    def refused(self) -> pl.DataFrame:
        """What was rejected or quarantined, all files: `source`, `file` and the columns of `convert.REFUSED`."""
        frames = [
            convert.refused(made).select(
                pl.lit(made.task.source).alias("source"), pl.lit(made.task.input.name).alias("file"), pl.all()
            )
            for made in self.files
        ]
        return pl.concat(frames)


def gather(
    tasks: Sequence[convert.Task],
    filters: Sequence[ActiveFilter],
    *,
    workers: int = 1,
    start_method: StartMethod | None = None,
    progress: Progress | None = None,
) -> Gathered:
    """Convert and measure what the cache lacks, and load all of it."""
    progress = progress or Progress(quiet=True)
    # The largest files first: the last worker should not be left alone with one.
    order = sorted(range(len(tasks)), key=lambda n: (-_size(tasks[n]), n))
    ran = engine.run(convert.convert_file, [tasks[n] for n in order], workers=workers, start_method=start_method)
    total = sum(_size(task) for task in tasks)
    scale, unit = (1e6, "MB") if total > 1e6 else (1e3, "kB")
    tracked = progress.track(ran, "convert", total / scale, unit, lambda done: _size(done.task) / scale)
    made = dict(zip(order, tracked, strict=True))
    files = [made[n] for n in range(len(tasks))]
    _say_what_was_refused(files, progress)
    shards = {shard: rows for done in files for shard, rows in done.shards.items()}
    to_do, where = measure.plan(shards, filters)
    ran_measures = engine.run(measure.measure_shard, to_do, workers=workers, start_method=start_method)
    for _ in progress.track(ran_measures, "measure", sum(t.rows for t in to_do), "examples", lambda t: t.rows):
        pass
    return Gathered(_load(files, where, filters), files, list(filters))


def _load(files: Sequence[FileConverted], where: dict[str, list[str]], filters: Sequence[ActiveFilter]) -> pl.DataFrame:
    frames = []
    for done in sorted(files, key=lambda f: (f.task.source, f.task.input.name)):
        examples = convert.load_examples(done)
        if filters:
            measures = pl.concat([measure.load_measures(where[shard]) for shard in done.shards])
            examples = pl.concat([examples, measures], how="horizontal")
        row = pl.col("provenance").struct.field("row")
        if not examples.select(row).to_series().is_sorted():  # rows of groups come after rows that stand alone
            examples = examples.sort(row, maintain_order=True)
        frames.append(examples)
    rows = pl.concat(frames)
    # A running number among identical rows, by file and row: the first keeps the bare hash.
    number = pl.int_range(pl.len()).over("id")
    return rows.with_columns(
        pl.when(number == 0).then("id").otherwise(pl.format("{}-{}", "id", number + 1)).alias("id")
    )


def _say_what_was_refused(files: Sequence[FileConverted], progress: Progress) -> None:
    for done in files:
        if not done.quarantined:
            continue
        bad = convert.refused(done).filter(pl.col("fate") == "quarantined").row(0, named=True)
        place = f":{bad['row']}" if bad["row"] else ""
        more = f" (and {done.quarantined - 1:,} more places in this file)" if done.quarantined > 1 else ""
        progress.warn(f"{done.task.input.name}{place}: {bad['detail']}{more}")


def _size(task: convert.Task) -> int:
    try:
        return task.input.path.stat().st_size
    except OSError:
        return 0
