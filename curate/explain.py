"""`curate explain`: one row's way, from what a build wrote: where it came from, what was measured, the verdict."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from caravan.curate.ledger import read_table
from caravan.errors import UserError, did_you_mean

PLACES = ("id", "row_id", "source", "file", "row", "rows", "fate", "reason", "reasons", "detail", "copies")
LINKS = ("duplicate_of", "duplicate_key", "similarity")


@dataclass(frozen=True)
class Explanation:
    """One row of the ledger, with its text where the build kept it, what repeats it and which items it leaks."""

    row: dict[str, Any]
    measures: dict[str, Any]
    messages: list[dict[str, str]] | None
    raw: str | None
    evidence: dict[str, Any]
    repeated_by: list[str]
    leaks: list[dict[str, Any]]


def explain(name: str, folder: str | Path = "mix", *, at_most: int = 20) -> tuple[list[Explanation], int]:
    """Explain an id, a row's own id, or FILE:ROW: the first `at_most` examples, and how many there are.


    `UserError` when the mixture in `folder` knows no such row.
    """
    folder = Path(folder)
    ledger = read_table(folder, "ledger.parquet")
    found = _find(ledger, name)
    if not found.height:
        raise UserError(
            f"no row {name!r}",
            where=str(folder / "ledger.parquet"),
            fix=f"give an id, or FILE:ROW with a file of this mixture ({_files(ledger, name)})",
        )
    shown = found.head(at_most)
    ids = shown["id"].drop_nulls().to_list()
    dropped = read_table(folder, "dropped.parquet")
    kept = read_table(folder, "mix.parquet").select("id", "messages").filter(pl.col("id").is_in(ids)).unique("id")
    texts = dict(kept.iter_rows()) | dict(dropped.select("id", "messages").filter(pl.col("id").is_in(ids)).iter_rows())
    leaks_table = read_table(folder, "contamination.parquet") if (folder / "contamination.parquet").exists() else None
    explained = []
    for row in shown.iter_rows(named=True):
        lost = dropped.filter(
            (pl.col("id") == row["id"]) if row["id"] else (pl.col("row_id") == row["row_id"]) & pl.col("id").is_null()
        ).rows(named=True)
        explained.append(
            Explanation(
                row={n: row[n] for n in (*PLACES, *LINKS) if row.get(n) not in (None, [])},
                measures={n: v for n, v in row.items() if n not in (*PLACES, *LINKS) and v is not None},
                messages=texts.get(row["id"]),
                raw=lost[0].get("raw") if lost else None,
                evidence=_evidence(lost[0]["evidence"]) if lost else {},
                repeated_by=ledger.filter(pl.col("duplicate_of") == row["id"])["id"].to_list() if row["id"] else [],
                leaks=leaks_table.filter(
                    (pl.col("row_id") == row["row_id"]) & (pl.col("file") == row["file"])
                ).to_dicts()
                if leaks_table is not None
                else [],
            )
        )
    return explained, found.height


def _find(ledger: pl.DataFrame, name: str) -> pl.DataFrame:
    by_id = ledger.filter((pl.col("id") == name) | (pl.col("row_id") == name))
    file, _, row = name.rpartition(":")
    if not (file and row.isascii() and row.isdigit()):
        return by_id
    spelled = {file, os.path.normpath(file)}
    files = ledger["file"].unique().to_list()
    same = [f for f in files if f in spelled or f.endswith(f"/{file}") or os.path.abspath(f) == os.path.abspath(file)]
    same_file = pl.col("file").is_in(same)
    cited = (pl.col("row") == int(row)) | pl.col("rows").list.contains(int(row))
    return pl.concat([by_id, ledger.filter(same_file & cited)]).unique(maintain_order=True)


def _files(ledger: pl.DataFrame, name: str) -> str:
    return did_you_mean(name.rpartition(":")[0] or name, ledger["file"].unique().sort().to_list()[:8])


def _evidence(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {"detail": text}
    return value if isinstance(value, dict) else {"detail": value}
