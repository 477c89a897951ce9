"""Which messages of a row the loss is taken on."""

import json
from typing import Any

import polars as pl


def weights(tags: pl.Series) -> pl.Series:
    """`weights` of each row's tags (JSON text), a list of numbers, one a message; null where a row has none.

    A message beyond the end of the list, or with null in it, weighs 1.
    """
    found = [_of_row(text) if text is not None and '"weights"' in text else None for text in tags.to_list()]
    return pl.Series("weights", found, dtype=pl.List(pl.Float64))


def _of_row(text: str) -> list[float | None] | None:
    value: Any = json.loads(text)
    listed = value.get("weights") if isinstance(value, dict) else None
    if not isinstance(listed, list):
        return None
    return [float(w) if isinstance(w, int | float) else None for w in listed]
