"""Answers as files: Parquet, one for each handful, there whole or not at all, so that a killed run can go on."""

import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from caravan.cache import key, written_aside
from caravan.errors import UserError
from caravan.eval.benchmark import Answer

SCHEMA = pa.schema(
    [
        ("number", pa.int64()),
        ("text", pa.string()),
        ("logprobs", pa.list_(pa.float64())),
        ("ended", pa.string()),
        ("error", pa.string()),
        ("near_tie", pa.bool_()),
    ]
)
FIELDS = ("text", "logprobs", "ended", "error", "near_tie")


def keep(answers: Sequence[tuple[int, Answer]], folder: Path) -> None:
    """Write answers, each under the number of its request."""
    if not answers:
        return
    rows = [
        {"number": number, **{f: getattr(a, f) for f in FIELDS}, "logprobs": list(a.logprobs)} for number, a in answers
    ]
    name = key([number for number, _ in answers], os.getpid())
    with written_aside(folder / f"{name}.parquet") as aside:
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), aside)


def read(folder: Path) -> dict[int, Answer]:
    """What was answered, by request; an answer counts over a failure."""
    found: dict[int, Answer] = {}
    for path in sorted(folder.glob("*.parquet")):
        try:
            table = pq.read_table(path)
            rows = table.to_pylist()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise UserError(f"not Parquet: {str(error).splitlines()[0]}", where=str(path), fix="remove it") from None
        if table.column_names != SCHEMA.names:
            raise UserError("not the answers of a run", where=str(path), fix="remove it: they are asked again")
        for row in rows:
            before = found.get(row["number"])
            if before is None or before.ended == "failed":
                fields = {name: row[name] for name in FIELDS} | {"logprobs": tuple(row["logprobs"])}
                found[row["number"]] = Answer(**fields)
    return found
