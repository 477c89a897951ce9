"""`curate diff A B`: which rows two mixtures do not share, and why each moved."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from caravan.curate.ledger import read_table
from caravan.mixtures import manifest

NOWHERE = "not in the other's sources"


@dataclass(frozen=True)
class Diff:
    """`moved` has a line for each row that one holds more often: id, source, row_id, its fate in `a` and `b`."""

    same_content: bool
    moved: pl.DataFrame
    counts: pl.DataFrame  # per source: rows in both, only in A, only in B
    settings: list[str]  # keys of the recipe, and input files, that differ


def diff(a: str | Path, b: str | Path) -> Diff:
    """Compare two mixture folders; `UserError` when one is not a mixture."""
    a, b = _folder(a), _folder(b)
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
        joined.filter(pl.col("copies").fill_null(0) != pl.col("copies_b").fill_null(0))
        .select(
            "id",
            "source",
            "row_id",
            _fate("fate", "reason", "copies").alias("a"),
            _fate("fate_b", "reason_b", "copies_b").alias("b"),
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


def _folder(path: str | Path) -> Path:
    """A mixture's folder, also when its mix.parquet was named."""
    path = Path(path)
    return path.parent if path.is_file() else path


def _examples(folder: Path) -> pl.DataFrame:
    ledger = read_table(folder, "ledger.parquet").filter(pl.col("id").is_not_null())
    return ledger.select("id", "source", "row_id", "fate", "reason", "copies")


def _fate(fate: str, reason: str, copies: str) -> pl.Expr:
    return (
        pl.when(pl.col(fate).is_null())
        .then(pl.lit(NOWHERE))
        .when(pl.col(reason).is_not_null())
        .then(pl.format("{}: {}", fate, reason))
        .when(pl.col(copies) > 1)
        .then(pl.format("{} {} times", fate, copies))
        .otherwise(pl.col(fate))
    )


def _settings(a: manifest.Manifest, b: manifest.Manifest) -> list[str]:
    left, right = (_flat({"recipe": one.recipe, "files": _files(one), **_limits(one)}) for one in (a, b))
    return [
        f"{key}: {left.get(key, 'unset')} -> {right.get(key, 'unset')}"
        for key in sorted(left.keys() | right.keys())
        if left.get(key) != right.get(key)
    ]


def _limits(record: manifest.Manifest) -> dict[str, object]:
    return {f.name: {"limits": f.limits, "settings": f.settings, "by source": f.overrides} for f in record.filters}


def _files(record: manifest.Manifest) -> dict[str, object]:
    return {f"{source.name} {file.sha256[:12]}": file.file for source in record.sources for file in source.files}


def _flat(value: object, prefix: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        merged: dict[str, str] = {}
        for key, inner in value.items():
            merged |= _flat(inner, f"{prefix}.{key}" if prefix else str(key))
        return merged
    return {prefix: str(value)}
