"""Whether a long answer is laid out: paragraphs, lists, headings, fences."""

from typing import Final

import numpy as np
import polars as pl

from caravan.curate.exchanges import SPACE, Exchanges, Floats

VERSION = 1
KIND: Final = "scale"
WEIGHT = 0.15


_MARKED_LINE = rf"(?m)^[{SPACE}]*(?:[-*•]|\d+[.)]|#{{1,6}}|\|)[{SPACE}]*[^{SPACE}]|^```"


def score(e: Exchanges) -> Floats:
    """Whether a long answer is laid out: paragraphs, lists, headings, fences. Below 80 words nothing is expected."""
    long = e.answers.words >= 80
    text, words = e.answers.read.filter(pl.Series(long)), e.answers.words[long]
    lines = text.str.count_matches("\n", literal=True).to_numpy()
    marked = text.str.count_matches(_MARKED_LINE).to_numpy()
    values = np.full(long.size, 0.7)
    values[long] = 0.4 + 0.3 * np.minimum(1.0, lines * 80.0 / words) + 0.3 * np.minimum(1.0, marked / 3)
    return values
