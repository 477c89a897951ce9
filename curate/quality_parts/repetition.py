"""Whether the answer says the same again and again."""

from typing import Final

import numpy as np
import polars as pl

from caravan.curate.exchanges import SPACE, Exchanges, Floats, table

VERSION = 3
KIND: Final = "gate"


# The share of a text in repeated n-grams from which it counts as repetitive (Rae et al. 2021, table A1).
_MOST_FREQUENT = {2: 0.20, 3: 0.18, 4: 0.16}
_REPEATED = {5: 0.15, 10: 0.10}
_REPEATED_LINES = 0.30
_CODE_SIGN = r"[{}<>=;|]"
_CODE_SHARE = 0.03


def score(e: Exchanges) -> Floats:
    """1 up to Gopher's limits for repeated lines and n-grams, falling to 0 at eight times a limit, slowly at first.

    Only for 50 words and more: a short answer may well say a thing twice. Code and tables repeat themselves by
    nature, so a text full of their signs has three times the limits.
    """
    long = e.answers.words >= 50
    chosen = pl.Series(long)
    text = e.answers.read.filter(chosen)
    excess = np.maximum(_repeated_grams(e.answers.lower.filter(chosen)), _repeated_lines(text))
    signs = text.str.count_matches(_CODE_SIGN).to_numpy()
    excess[signs > _CODE_SHARE * text.str.len_chars().to_numpy()] /= 3
    values = np.ones(long.size)
    values[long] = np.sqrt(np.clip(1 - (excess - 1) / 7, 0.0, 1.0))
    return values


def _repeated_grams(lower: pl.Series) -> Floats:
    """How many times a limit for n-grams each text reaches; for units in a row see `text_kernels.repeats`."""
    from caravan.curate import text_kernels as kernels

    widths = np.array([*_MOST_FREQUENT, *_REPEATED])
    units, dense = np.zeros((2, len(lower)), np.int64)
    most, kinds = np.zeros((2, len(lower), widths.size), np.int64)
    kernels.repeats(*kernels.joined(lower), table(), widths, units, dense, most, kinds)
    excess = np.zeros(len(lower))
    some = np.maximum(units, 1)
    for k, (n, limit) in enumerate((_MOST_FREQUENT | _REPEATED).items()):
        grams = np.maximum(units - n * dense + 1, 1)
        often = np.where(most[:, k] > 3, most[:, k] * n * dense / some, 0.0)
        share = often if n in _MOST_FREQUENT else np.where(kinds[:, k] > 0, 1 - kinds[:, k] / grams, 0.0)
        excess = np.maximum(excess, share / limit)
    return excess


def _repeated_lines(texts: pl.Series) -> Floats:
    """How many times the limit for lines each text reaches; lines of up to eight characters do not count."""
    lines = pl.DataFrame({"line": texts.str.split("\n")}).with_row_index("text").explode("line")
    lines = lines.filter(pl.col("line").str.strip_chars(SPACE).str.len_chars() > 8)
    counted = lines.group_by("text").agg(pl.len().alias("lines"), kinds=pl.col("line").n_unique())
    counted = counted.filter(pl.col("lines") > 3)
    excess = np.zeros(len(texts))
    excess[counted["text"].to_numpy()] = (
        1 - counted["kinds"].to_numpy() / counted["lines"].to_numpy()
    ) / _REPEATED_LINES
    return excess
