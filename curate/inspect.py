"""`curate inspect`: what a file is, what a converter makes of it, and how its rows measure. No texts are shown."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import polars as pl

from caravan.curate.convert import FileConverted
from caravan.curate.guess import Guess
from caravan.curate.single import gather_data
from caravan.terminal import Progress

QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)


@dataclass(frozen=True)
class Inspection:
    """Counts and distributions of one data set."""

    files: list[FileConverted]
    guesses: dict[str, Guess]
    examples: int
    roles: dict[str, int]
    turns: dict[int, int]
    languages: dict[str, int]
    quantiles: dict[
        str, list[float]
    ]  # none where there are no examples; of tokens, supervised tokens, quality and its parts, at QUANTILES


def inspect(
    data: Any,
    *,
    converter: str | None = None,
    columns: dict[str, str] | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Inspection:
    """Convert and measure a data set (a path, or a frame of raw rows) and describe it."""
    gathered, guesses = gather_data(
        data,
        ("length", "language", "quality"),
        converter=converter,
        columns=columns,
        workers=workers,
        progress=progress,
    )
    rows = gathered.rows
    roles = rows.select(pl.col("messages").explode().struct.field("role")).to_series()
    numeric = ["tokens", "supervised_tokens", *(n for n in rows.columns if n.startswith("quality"))]
    return Inspection(
        files=gathered.files,
        guesses=guesses,
        examples=rows.height,
        roles=dict(sorted(Counter(roles.to_list()).items())),
        turns=dict(sorted(Counter(rows["messages"].list.len().to_list()).items())),
        languages=dict(rows["language"].value_counts(sort=True).iter_rows()),
        quantiles={
            name: [float(rows[name].cast(pl.Float64).quantile(q, "nearest") or 0) for q in QUANTILES]
            for name in numeric
            if rows.height
        },
    )
