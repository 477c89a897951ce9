"""`curate diff A B`: which rows two mixtures do not share, and why each moved."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from caravan.curate.explain import _read as read_file
from caravan.mixtures import manifest

NOWHERE = "not in the other's sources"


@dataclass(frozen=True)
class Diff:
    """`moved` has one line for each row that only one of the mixtures holds: id, source, row_id, from, to, why."""

    same_content: bool
    moved: pl.DataFrame
    counts: pl.DataFrame  # per source: rows in both, only in A, only in B
    settings: list[str]  # keys of the recipe that differ


def diff(a: str | Path, b: str | Path) -> Diff:
    """Compare two mixture folders; `UserError` when one is not a mixture."""
    a, b = Path(a), Path(b)
    first, second = manifest.read(a), manifest.read(b)
    ledgers = [_examples(folder) for folder in (a, b)]
    joined = ledgers[0].join(ledgers[1], on="id", how="full", suffix="_b", coalesce=True, validate="1:1")
    joined = joined.with_columns(
        pl.coalesce("source", "source_b").alias("source"),
        pl.coalesce("row_id", "row_id_b").alias("row_id"),
        (pl.col("copies").fill_null(0) > 0).alias("in_a"),
        (pl.col("copies_b").fill_null(0) > 0).alias("in_b"),
    )
    moved = (
        joined.filter(pl.col("in_a") != pl.col("in_b"))
        .select(
            "id",
            "source",
            "row_id",
            _fate("fate", "reason").alias("a"),
            _fate("fate_b", "reason_b").alias("b"),
        )
        .sort("source", "id")
    )
    counts = (
        joined.group_by("source")
        .agg(
            (pl.col("in_a") & pl.col("in_b")).sum().alias("both"),
            (pl.col("in_a") & ~pl.col("in_b")).sum().alias("only_a"),
            (~pl.col("in_a") & pl.col("in_b")).sum().alias("only_b"),
        )
        .sort("source")
    )
    return Diff(first.content_hash == second.content_hash, moved, counts, _settings(first, second))


def _examples(folder: Path) -> pl.DataFrame:
    ledger = read_file(folder, "ledger.parquet").filter(pl.col("id").is_not_null())
    return ledger.select("id", "source", "row_id", "fate", "reason", "copies")


def _fate(fate: str, reason: str) -> pl.Expr:
    return (
        pl.when(pl.col(fate).is_null())
        .then(pl.lit(NOWHERE))
        .when(pl.col(reason).is_not_null())
        .then(pl.format("{}: {}", fate, reason))
        .otherwise(pl.col(fate))
    )


def _settings(a: manifest.Manifest, b: manifest.Manifest) -> list[str]:
    left, right = _flat({"recipe": a.recipe, **_limits(a)}), _flat({"recipe": b.recipe, **_limits(b)})
    return [
        f"{key}: {left.get(key, 'unset')} -> {right.get(key, 'unset')}"
        for key in sorted(left.keys() | right.keys())
        if left.get(key) != right.get(key)
    ]


def _limits(record: manifest.Manifest) -> dict[str, object]:
    return {f.name: {"limits": f.limits, "settings": f.settings, "by source": f.overrides} for f in record.filters}


def _flat(value: object, prefix: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        merged: dict[str, str] = {}
        for key, inner in value.items():
            merged |= _flat(inner, f"{prefix}.{key}" if prefix else str(key))
        return merged
    return {prefix: str(value)}
