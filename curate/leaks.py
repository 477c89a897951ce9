"""What contamination found, put together: lines of contamination.parquet, and items hit by benchmark and subject.

Leaks (`verbatim`, `edited`) are over the limit and are what items are counted by. Suspected ones (`rewritten`) and
variants (`variant`) are listed and counted apart. Each item, and each row for a benchmark, is counted once: as leaked,
else as suspected, else as a variant.
"""

from typing import Any

import polars as pl

from caravan.curate.benchmarks import load_items
from caravan.curate.filters.contamination import Limits, Settings
from caravan.mixtures.manifest import BenchmarkRecord, GroupRecord

LEAKS, SUSPECTED, VARIANT = ("verbatim", "edited"), "rewritten", "variant"

_ROW = ("file", "row", "row_id")
_COUNTS = {"hit": "rows_hit", "suspected": "rows_suspected", "variants": "rows_variants"}


def table(rows: pl.DataFrame, limits: Limits) -> pl.DataFrame:
    """The lines of contamination.parquet: each row and item over the limit, suspected, or a variant, in row order.

    `rows` has `provenance` and this filter's measures. A row is named by its own id, else by FILE:ROW.
    """
    file, row, own_id = (pl.col("provenance").struct.field(name) for name in ("file", "row", "own_id"))
    over = pl.col("coverage_item") >= limits.coverage
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
        .filter(over | pl.col("similarity").is_not_null())
        .collect()
    )


def hits(lines: pl.DataFrame) -> pl.DataFrame:
    """The leaks among `table`'s lines: what counts as an item hit."""
    return lines.filter(pl.col("kind").is_in(LEAKS))


def groups(lines: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """For each benchmark and group (subject, task, language): items, how many of them are too short to check, how
    many were hit, suspected, or have variants, and by how many rows. `lines` are `table`'s; items too short stay in
    the denominator. `rows_answered`: rows that hold the answer of an item beside it.
    """
    per_item = items(settings)
    counted = _counted(lines.join(per_item, on=["benchmark", "item"], how="left"), ["benchmark", "group"])
    return (
        per_item.group_by("benchmark", "group", maintain_order=True)
        .agg(items=pl.len().cast(pl.Int64), too_short=pl.col("too_short").sum().cast(pl.Int64))
        .join(counted, on=["benchmark", "group"], how="left", maintain_order="left")
        .with_columns(pl.exclude("benchmark", "group").fill_null(0))
    )


def records(lines: pl.DataFrame, settings: Settings) -> list[BenchmarkRecord]:
    """The same for each benchmark as a whole and its groups, as the manifest holds it."""
    by_group: dict[str, list[dict[str, Any]]] = {}
    for group in groups(lines, settings).to_dicts():
        by_group.setdefault(group.pop("benchmark"), []).append({"name": group.pop("group"), **group})
    whole = {one.pop("benchmark"): one for one in _counted(lines, ["benchmark"]).to_dicts()}
    none = dict.fromkeys([*_COUNTS, *_COUNTS.values(), "rows_answered"], 0)
    return [
        BenchmarkRecord(
            name=loaded.name,
            items=len(loaded.items),
            too_short=sum(group["too_short"] for group in by_group[loaded.name]),
            embedded=loaded.embedded,
            groups=[GroupRecord(**group) for group in by_group[loaded.name] if len(by_group[loaded.name]) > 1],
            **whole.get(loaded.name, none),
        )
        for loaded in load_items(settings.benchmarks)
    ]


def _counted(lines: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """For each part the items and rows of each sort, each counted once under its first sort."""
    sort = (
        pl.when(pl.col("kind").is_in(LEAKS))
        .then(0)
        .when(pl.col("kind") == SUSPECTED)
        .then(1)
        .otherwise(2)
        .alias("sort")
    )
    marked = lines.with_columns(sort)
    parts = []
    for what, names in (("item",), _COUNTS.keys()), (_ROW, _COUNTS.values()):
        first = marked.group_by(*dict.fromkeys([*by, "benchmark", *what])).agg(pl.col("sort").min())
        counts = [(pl.col("sort") == n).sum().cast(pl.Int64).alias(name) for n, name in enumerate(names)]
        parts.append(first.group_by(by).agg(counts))
    answered = hits(lines).filter("answer").group_by(by).agg(rows_answered=pl.struct(_ROW).n_unique().cast(pl.Int64))
    return (
        parts[0]
        .join(parts[1], on=by)
        .join(answered, on=by, how="left")
        .with_columns(pl.col("rows_answered").fill_null(0))
    )


def items(settings: Settings) -> pl.DataFrame:
    """One line an item: `benchmark`, `item`, `group`, `too_short`."""
    from caravan.curate.overlap_index import index_of

    checked = index_of(settings.benchmarks, settings.width).checked
    lines = [(b.name, i.id, i.group) for b in load_items(settings.benchmarks) for i in b.items]
    frame = pl.DataFrame(lines, schema={"benchmark": pl.String, "item": pl.String, "group": pl.String}, orient="row")
    return frame.with_columns(too_short=pl.Series(~checked))
