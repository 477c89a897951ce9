"""Intervals of proportions that hold near 0 and 1 too: score intervals, and the exact one."""

import math
from collections.abc import Callable

import numpy as np

from caravan.eval.statistics.estimates import Floats, checked, normal
from caravan.proportions import wilson

HALVINGS = 100  # of a bracket of a root, far below the last digit


def clopper_pearson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The interval that covers at least `level` whatever the proportion (Clopper and Pearson, 1934)."""
    from scipy.special import betaincinv

    _check(successes, n)
    tail = (1 - checked(level)) / 2
    low = float(betaincinv(successes, n - successes + 1, tail)) if successes else 0.0
    high = float(betaincinv(successes + 1, n - successes, 1 - tail)) if successes < n else 1.0
    return low, high


def stratified_score(shares: Floats, sizes: Floats, weights: Floats, level: float = 0.95) -> tuple[float, float]:
    """The score interval of sum(weights * proportions), from independent strata (Martin Andres et al., 2011).

    `shares`, `sizes`, `weights` are [strata]: the observed proportion, the (effective) number of items, the weight; the
    weights add to 1. A bound is the sum that differs from the observed one by z standard errors, these taken at the
    proportions that are the likeliest where the sum is the bound. With one stratum it is Wilson's. As strata take up
    degrees of freedom, z^2 is raised by n / (n - strata + 1): else many small strata would look surer than they are.
    """
    if len(shares) == 1:
        return wilson(float(shares[0] * sizes[0]), float(sizes[0]), level)
    n = float(sizes.sum())
    square = normal(level) ** 2 * n / max(n - len(shares) + 1, 1)
    low = _lower(shares, sizes, weights, square)
    return low, 1 - _lower(1 - shares, sizes, weights, square)


def _lower(shares: Floats, sizes: Floats, weights: Floats, square: float) -> float:
    """The lower bound. The likeliest proportions p solve n (share - p) = pull * weight * p * (1 - p), for one pull."""
    if not shares.any():
        return 0.0

    def likeliest(pull: float) -> Floats:
        a = pull * weights
        root = np.sqrt(np.maximum((a + sizes) ** 2 - 4 * a * sizes * shares, 0))
        return np.asarray(2 * sizes * shares / (a + sizes + root))

    def excess(pull: float) -> float:
        p = likeliest(pull)
        return pull**2 * float((weights**2 * p * (1 - p) / sizes).sum()) - square

    top = 1.0
    while excess(top) < 0:
        top *= 2
    return float(weights @ likeliest(root(excess, 0.0, top)))


def tango(ups: float, downs: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """The score interval of a paired difference of proportions, (ups - downs) / n (Tango, 1998).

    `ups` pairs are (1, 0) and `downs` pairs (0, 1) of `n`; effective numbers, so not whole, are possible.
    """
    _check(ups + downs, n)
    z = normal(level)

    def score(delta: float) -> float:
        b = (2 * n - ups + downs) * delta - ups - downs
        c = -downs * delta * (1 - delta)
        likeliest = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)  # of (0, 1), given delta
        spread = math.sqrt(max(n * (2 * likeliest + delta * (1 - delta)), 0.0))
        gap = ups - downs - n * delta
        return gap / spread if spread else math.copysign(math.inf, gap) if gap else 0.0

    middle = (ups - downs) / n
    low = root(lambda delta: z - score(delta), -1.0, middle)
    high = root(lambda delta: -z - score(delta), middle, 1.0)
    return low, high


def root(rising: Callable[[float], float], low: float, high: float, halvings: int = HALVINGS) -> float:
    """Where a function that rises from below 0 to above it crosses 0, by halving the bracket."""
    for _ in range(halvings):
        middle = (low + high) / 2
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _check(successes: float, n: float) -> None:
    if not 0 <= successes <= n or n <= 0:
        raise ValueError(f"{successes} of {n} is no proportion")
