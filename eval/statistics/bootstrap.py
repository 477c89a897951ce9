"""Intervals of figures that are no mean: each is recomputed whole on resamples."""

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from caravan.eval.statistics.estimates import Estimate, Floats, checked, unknown

LEFT_OUT = 200  # blocks at most that are left out in turn to see how skewed the figure is


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], float], n: int, *, resamples: int, seed: int = 0, level: float = 0.95
) -> Estimate:
    """Interval (BCa) of a statistic of n items (or clusters), recomputed whole on each resample of their numbers.

    `statistic` gets the numbers [n] of the items drawn. Bias-corrected and accelerated (Efron, 1987); the acceleration
    comes from leaving out one item, or one of 200 blocks, at a time. Resamples on which the statistic is NaN (a kappa
    with one category) are left out and counted in `method`; where they are the most, there is no interval.
    """
    value = float(statistic(np.arange(n)))
    if n < 2 or math.isnan(value):
        return unknown(value, n, None, level, "not defined" if math.isnan(value) else "one item says nothing of others")
    draw = np.random.default_rng(seed)
    drawn = np.array([statistic(draw.integers(0, n, n)) for _ in range(resamples)])
    found = drawn[~np.isnan(drawn)]
    lost = resamples - len(found)
    if 2 * len(found) <= resamples:
        return unknown(value, n, None, level, f"not defined on {lost:,} of {resamples:,} resamples")
    if (found == found[0]).all():
        return unknown(value, n, None, level, "every resample gives the same, so a bootstrap cannot say how sure it is")
    low, high = _bca(value, found, _left_out(statistic, n), level)
    words = f"BCa bootstrap, {resamples:,} resamples" + (f", not defined on {lost:,}" if lost else "")
    return Estimate(value, float(found.std(ddof=1)), low, high, n, words, None, level)


def _left_out(statistic: Callable[[NDArray[np.int64]], float], n: int) -> Floats:
    """The statistic without each block of items in turn."""
    blocks = min(n, LEFT_OUT)
    block = np.arange(n) % blocks
    found = (float(statistic(np.flatnonzero(block != number))) for number in range(blocks))
    return np.array([figure for figure in found if not math.isnan(figure)])


def _bca(value: float, drawn: Floats, left_out: Floats, level: float) -> tuple[float, float]:
    below = float((drawn < value).mean() + (drawn <= value).mean()) / 2
    pulls = left_out.mean() - left_out if len(left_out) else np.zeros(1)
    cubes, squares = float((pulls**3).sum()), float((pulls**2).sum())
    acceleration = cubes / (6 * squares**1.5) if squares else 0.0
    # a figure at the very edge of its resamples has no finite correction: the last of them must do
    bias = NormalDist().inv_cdf(min(max(below, 0.5 / len(drawn)), 1 - 0.5 / len(drawn)))
    shares = []
    for tail in ((1 - checked(level)) / 2, (1 + level) / 2):
        z = bias + NormalDist().inv_cdf(tail)
        shares.append(NormalDist().cdf(bias + z / max(1 - acceleration * z, 1e-6)))
    low, high = np.quantile(drawn, shares)
    return float(low), float(high)
