"""`curate dedup`: the duplicates of one data set out, with the pairs and groups that say why."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import JsonValue

from caravan.curate.decide import decide, link, writers
from caravan.curate.engine import StartMethod
from caravan.curate.filters.duplicates import NEAR, Key
from caravan.curate.gather import Gathered
from caravan.curate.ledger import row_id
from caravan.curate.single import check_out, gather_data, write_frame
from caravan.terminal import Progress

KEEP = ("human", "quality", "length")  # what makes the better row


@dataclass(frozen=True)
class Deduplicated:
    """`kept` rows; `pairs`, a line a dropped row: the row that stays and their exact Jaccard; `groups` of them."""

    kept: pl.DataFrame
    pairs: pl.DataFrame
    groups: pl.DataFrame
    rows: int
    gathered: Gathered

    def least_similar(self, number: int) -> pl.DataFrame:
        """The near duplicates at the limit, of `pairs`: the place to look for false drops."""
        return self.pairs.filter(pl.col("reason") == NEAR).head(number)


def dedup(
    data: Any,
    *,
    threshold: float = 0.8,
    key: Key = "conversation",
    exact: bool = False,
    out: str | Path | None = None,
    converter: str | None = None,
    columns: dict[str, str] | None = None,
    workers: int = 1,
    start_method: StartMethod | None = None,
    progress: Progress | None = None,
) -> Deduplicated:
    """Drop rows whose `key` text repeats a better row's, word for word or with a similarity of at least `threshold`.

    The better row is the one whose answers people wrote, where that is known, then the one of higher quality, then the
    longer, then the smaller id. With `exact` no pair at or above the threshold is missed (a prefix-filter join instead
    of LSH). With `out` the kept rows are written there, pairs and groups beside it (`OUT.pairs.parquet`,
    `OUT.groups.parquet`).
    """
    check_out(out)
    settings: dict[str, JsonValue] = {
        "keys": [key],
        "index": "prefix" if exact else "lsh",
        "floor": threshold,
    }
    limits: dict[str, JsonValue] = {"exact": [key], "near": threshold, "near_keys": [key]}
    tables: dict[str, dict[str, JsonValue]] = {"quality": {}, "duplicates": settings | limits}
    gathered, _ = gather_data(
        data,
        tables,
        converter=converter,
        columns=columns,
        workers=workers,
        start_method=start_method,
        progress=progress,
    )
    filters = [f for f in gathered.filters if f.name == "duplicates"]
    rows = gathered.rows
    verdicts = decide(rows, filters, link(rows, filters), KEEP, (), writers(gathered.files, {}))
    decided = rows.select("id", "messages", "source", "tags", "provenance", "licence", row_id()).hstack(verdicts)
    result = Deduplicated(
        kept=decided.filter(pl.col("reason").is_null()).select(
            "messages", "id", "source", "tags", "provenance", "licence", "row_id"
        ),
        pairs=_pairs(decided),
        groups=_groups(decided),
        rows=rows.height,
        gathered=gathered,
    )
    if out is not None:
        path = Path(out)
        write_frame(result.kept, path, gathered)
        write_frame(result.pairs, beside(path, "pairs"), gathered)
        write_frame(result.groups, beside(path, "groups"), gathered)
    return result


def beside(out: Path, what: str) -> Path:
    """Where pairs or groups are written: `kept.parquet` has `kept.pairs.parquet` beside it."""
    return out.with_name(f"{out.name.removesuffix('.parquet')}.{what}.parquet")


def _pairs(decided: pl.DataFrame) -> pl.DataFrame:
    names = decided.select(pl.col("id").alias("kept"), pl.col("row_id").alias("kept_row_id"))
    return (
        decided.filter(pl.col("duplicate_of").is_not_null())
        .select(
            pl.col("id").alias("dropped"),
            pl.col("duplicate_of").alias("kept"),
            pl.col("duplicate_key").alias("key"),
            "reason",
            "similarity",
            pl.col("row_id").alias("dropped_row_id"),
        )
        .join(names, on="kept", how="left", maintain_order="left")
        .sort("similarity", "dropped")  # least similar first: the place to look for false drops
    )


def _groups(decided: pl.DataFrame) -> pl.DataFrame:
    return (
        decided.filter(pl.col("duplicate_of").is_not_null())
        .group_by(pl.col("duplicate_of").alias("kept"))
        .agg(
            (pl.len() + 1).cast(pl.Int64).alias("size"),
            pl.col("id").sort().alias("dropped"),
            pl.col("similarity").min().alias("least_similar"),
        )
        .sort(["size", "kept"], descending=[True, False])
    )
