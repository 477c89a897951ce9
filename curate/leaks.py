"""What contamination found, put together: lines of contamination.parquet, and items hit by benchmark and subject.

Leaks (`verbatim`, `edited`) are over the limit and are what items are counted by. Suspected ones (`rewritten`) and
variants (`variant`) are listed and counted apart.
"""

import polars as pl

from caravan.curate.benchmarks import load_items
from caravan.curate.filters.contamination import Limits, Settings
from caravan.mixtures.manifest import BenchmarkRecord


def table(rows: pl.DataFrame, limits: Limits) -> pl.DataFrame:
    """The lines of contamination.parquet: each row and item over the limit, in the order of the rows.

    `rows` has `provenance` and this filter's measures. A row is named by its own id, else by FILE:ROW.
    """
    file, row, own_id = (pl.col("provenance").struct.field(name) for name in ("file", "row", "own_id"))
    return (
        rows.lazy()
        .select(
            pl.coalesce(own_id, pl.format("{}:{}", file, row)).alias("row_id"),
            file.alias("file"),
            row.alias("row"),
            "contamination",
        )
        .filter(pl.col("contamination").list.len() > 0)
        .explode("contamination")
        .unnest("contamination")
        .filter(pl.col("coverage_item") >= limits.coverage)
        .collect()
    )


def groups(lines: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """For each benchmark and group (subject, task, language): items, how many of them are too short to check, how
    many were hit, and by how many rows. `lines` are `table`'s; items too short stay in the denominator.
    """
    per_item = items(settings)
    hit = lines.select("benchmark", "item", "file", "row", "row_id").join(per_item, on=["benchmark", "item"])
    return (
        per_item.group_by("benchmark", "group", maintain_order=True)
        .agg(items=pl.len(), too_short=pl.col("too_short").sum())
        .join(
            hit.group_by("benchmark", "group").agg(
                hit=pl.col("item").n_unique(), rows_hit=pl.struct("file", "row", "row_id").n_unique()
            ),
            on=["benchmark", "group"],
            how="left",
            maintain_order="left",
        )
        .with_columns(pl.col("hit", "rows_hit").fill_null(0))
        .cast({"items": pl.Int64, "too_short": pl.Int64, "hit": pl.Int64, "rows_hit": pl.Int64})
    )


def records(lines: pl.DataFrame, settings: Settings) -> list[BenchmarkRecord]:
    """The same for each benchmark as a whole, as the manifest holds it."""
    summed = groups(lines, settings).group_by("benchmark").agg(pl.col("items", "too_short", "hit").sum())
    sums = {row["benchmark"]: row for row in summed.to_dicts()}
    rows = dict(lines.group_by("benchmark").agg(pl.struct("file", "row", "row_id").n_unique()).iter_rows())
    return [
        BenchmarkRecord(
            name=loaded.name,
            items=sums[loaded.name]["items"],
            too_short=sums[loaded.name]["too_short"],
            hit=sums[loaded.name]["hit"],
            rows_hit=rows.get(loaded.name, 0),
            embedded=loaded.embedded,
        )
        for loaded in load_items(settings.benchmarks)
    ]


def items(settings: Settings) -> pl.DataFrame:
    """One line an item: `benchmark`, `item`, `group`, `too_short`."""
    from caravan.curate.overlap import index_of

    checked = index_of(settings.benchmarks, settings.width).checked
    lines = [(b.name, i.id, i.group) for b in load_items(settings.benchmarks) for i in b.items]
    frame = pl.DataFrame(lines, schema={"benchmark": pl.String, "item": pl.String, "group": pl.String}, orient="row")
    return frame.with_columns(too_short=pl.Series(~checked))
