"""The tables of a build: the mixture, the ledger of every row, and what was dropped with its evidence.

Two accounts prove that nothing disappears (`check_books`): every raw row is cited by an example, or rejected with a
code, or quarantined; and examples = drawn + validation + not drawn + dropped.
"""

import json
from pathlib import Path

import numpy as np
import polars as pl

from caravan.curate.gather import Gathered
from caravan.curate.measure import ActiveFilter
from caravan.curate.mix import Drawn
from caravan.errors import UserError
from caravan.mixtures.manifest import Manifest

EXAMPLE_COLUMNS = ("messages", "id", "source", "tags", "provenance", "licence")
TOKENS = ("tokens", "supervised_tokens")


def mixture(rows: pl.DataFrame, positions: np.ndarray, copies: np.ndarray) -> pl.DataFrame:
    """The rows of mix.parquet: `messages` first, so that trainers take the file as it is."""
    parts = [n for n in rows.columns if n.startswith("quality_") and rows[n].null_count() < rows.height]
    measured = [name for name in ("language", "quality", *parts, *TOKENS) if name in rows.columns]
    chosen = rows[positions].with_columns(row_id(), pl.Series("repeat", copies, dtype=pl.Int64))
    return chosen.select("messages", "id", "source", *measured, "repeat", "row_id", "licence", "tags")


def row_id() -> pl.Expr:
    """How reports name a row: its own id where the file has one, else FILE:ROW."""
    at = pl.col("provenance").struct
    return pl.coalesce(at.field("own_id"), pl.format("{}:{}", at.field("file"), at.field("row"))).alias("row_id")


def ledger(gathered: Gathered, verdicts: pl.DataFrame, drawn: Drawn) -> pl.DataFrame:
    """One line for every example and every refused row, without texts: what became of it, and why."""
    rows = gathered.rows
    copies = np.bincount(drawn.rows, minlength=rows.height).astype(np.int64)
    held = np.zeros(rows.height, dtype=bool)
    held[drawn.validation] = True
    fate = (
        pl.when(pl.col("reason").is_not_null())
        .then(pl.lit("dropped"))
        .when(pl.Series(held))
        .then(pl.lit("validation"))
        .when(pl.Series(copies) > 0)
        .then(pl.lit("drawn"))
        .otherwise(pl.lit("not_drawn"))
    )
    at = pl.col("provenance").struct
    measures = [n for n, kind in rows.schema.items() if n not in EXAMPLE_COLUMNS and _plain(n, kind)]
    examples = rows.hstack(verdicts).select(
        "id",
        row_id(),
        "source",
        at.field("file"),
        at.field("row"),
        at.field("rows"),
        fate.alias("fate"),
        "reason",
        "reasons",
        pl.lit(None, pl.String).alias("detail"),
        "duplicate_of",
        "duplicate_key",
        "similarity",
        pl.Series("copies", copies),
        *measures,
    )
    refused = gathered.refused().select(
        pl.format("{}:{}", "file", "row").alias("row_id"),
        "source",
        "file",
        "row",
        "rows",
        "fate",
        pl.col("code").alias("reason"),
        pl.concat_list("code").alias("reasons"),
        "detail",
        pl.lit(0, pl.Int64).alias("copies"),
    )
    return pl.concat([examples, refused], how="diagonal")


def _plain(name: str, kind: pl.DataType) -> bool:
    return not name.startswith("duplicate_") and (kind.is_numeric() or kind in (pl.String, pl.Boolean))


def dropped(gathered: Gathered, verdicts: pl.DataFrame) -> pl.DataFrame:
    """Dropped examples and rejected rows: the row, its reasons, and as JSON the evidence for each reason.

    A duplicate has the messages of the row that it repeats beside its own: that row need not be in the mixture.
    """
    lost = gathered.rows.hstack(verdicts).filter(pl.col("reason").is_not_null())
    kept = gathered.rows.filter(pl.col("id").is_in(lost["duplicate_of"].drop_nulls().unique().to_list()))
    partners = kept.select(duplicate_of="id", duplicate_messages="messages")
    at = pl.col("provenance").struct
    shown = {reason: _evidence_columns(f, lost) for f in gathered.filters for reason in f.module.REASONS}
    evidence = [
        json.dumps(
            {reason: {name: row[name] for name in shown.get(reason, ())} for reason in row["reasons"]},
            ensure_ascii=False,
            sort_keys=True,
        )
        for row in lost.drop("messages").iter_rows(named=True)
    ]
    examples = lost.select(
        "id",
        row_id(),
        "source",
        at.field("file"),
        at.field("row"),
        pl.lit("dropped").alias("fate"),
        "reason",
        "reasons",
        "duplicate_of",
        pl.Series("evidence", evidence, dtype=pl.String),
        "messages",
    ).join(partners, on="duplicate_of", how="left", maintain_order="left")
    rejected = (
        gathered.refused()
        .filter(pl.col("fate") != "quarantined")
        .select(
            pl.format("{}:{}", "file", "row").alias("row_id"),
            "source",
            "file",
            "row",
            "fate",
            pl.col("code").alias("reason"),
            pl.concat_list("code").alias("reasons"),
            pl.struct(code=pl.col("code"), detail=pl.col("detail")).struct.json_encode().alias("evidence"),
            "raw",
        )
    )
    return pl.concat([examples.drop("duplicate_of"), rejected], how="diagonal")


def _evidence_columns(active: ActiveFilter, rows: pl.DataFrame) -> list[str]:
    own = [n for n, kind in active.module.COLUMNS.items() if _plain(n, kind) or n == "contamination"]
    linked = ["duplicate_of", "duplicate_key", "similarity"] if hasattr(active.module, "link") else []
    return [name for name in [*own, *linked] if name in rows.columns]


def read_table(folder: Path, file: str) -> pl.DataFrame:
    """A table that a build wrote; `UserError` when the folder has none, or it is damaged."""
    path = folder / file
    if not path.is_file():
        raise UserError("is not there", where=str(path), fix="name a folder that `curate build-mix` wrote")
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError):
        raise UserError("is damaged", where=str(path), fix="build the mixture again") from None


def check_books(record: Manifest, rows: pl.DataFrame) -> None:
    """Both accounts of rows, in code: a build whose books do not balance is a bug, and is not written."""
    for source in record.sources:
        for file in source.files:
            if file.rows != file.cited + file.rejected + file.quarantined:
                raise UserError("raw rows are unaccounted for", where=file.file, fix="please report this bug")
        if source.examples != sum(file.examples for file in source.files):
            raise UserError("examples are unaccounted for", where=source.name, fix="please report this bug")
        if source.examples != source.drawn + source.validation + source.not_drawn + sum(source.dropped.values()):
            raise UserError("examples are unaccounted for", where=source.name, fix="please report this bug")
    if sum(source.examples for source in record.sources) != rows["id"].drop_nulls().n_unique():
        raise UserError("examples are unaccounted for", where="ledger", fix="please report this bug")
