"""Many tests at once: p-values adjusted for the family that they belong to."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from caravan.eval.statistics.estimates import Floats


def holm(p: Sequence[float]) -> list[float]:
    """p-values adjusted so that a whole family errs with at most the level of one (Holm, 1979).

    For what was declared before running. NaN (a test that could not be made) stays NaN and counts for nothing.
    """
    return _adjusted(p, lambda ordered, ranks: np.maximum.accumulate(ordered * (len(ordered) + 1 - ranks)))


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """p-values adjusted so that of what is called a difference the expected false share is at most the level.

    For exploration (Benjamini and Hochberg, 1995). NaN stays NaN and counts for nothing.
    """
    return _adjusted(p, lambda ordered, ranks: np.minimum.accumulate((ordered * len(ordered) / ranks)[::-1])[::-1])


def _adjusted(p: Sequence[float], rule: Callable[[Floats, Floats], Floats]) -> list[float]:
    found = np.asarray(p, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(found))
    if ((found[known] < 0) | (found[known] > 1)).any():
        raise ValueError("p-values lie between 0 and 1")
    order = known[np.argsort(found[known], kind="stable")]
    adjusted = np.full(len(found), math.nan)
    adjusted[order] = np.minimum(rule(found[order], np.arange(1.0, len(order) + 1)), 1)
    return [float(x) for x in adjusted]
