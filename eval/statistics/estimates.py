"""What statistics say: an estimate with its interval, and the difference of two runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Average = Literal["micro", "macro"]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its standard error and the interval at `level`; `method` names how, in words for a table's foot.

    `n` items in `clusters` clusters (None: each item is its own). `stderr`, `low` and `high` are NaN where n < 2 says
    nothing.
    """

    value: float
    stderr: float
    low: float
    high: float
    n: int
    method: str
    clusters: int | None = None
    level: float = 0.95


@dataclass(frozen=True, slots=True)
class Difference:
    """Run A minus run B on the items that both have. `a_only` items went better in A, `b_only` in B.

    `p` tests that the difference is nought (exact McNemar where all values are 0 or 1, the mean is over items, and
    items share nothing; else the test that belongs to the interval, which `estimate.method` names). `needed` items of
    the same kind would show a difference of this size with 80% power, None where it cannot be said.
    """

    estimate: Estimate
    a_only: int
    b_only: int
    p: float
    needed: int | None


def unknown(value: float, n: int, clusters: int | None, level: float, why: str) -> Estimate:
    """An estimate of which nothing but the value (or not even that) can be said."""
    return Estimate(value, math.nan, math.nan, math.nan, n, why, clusters, level)


def normal(level: float) -> float:
    """The two-sided quantile of the normal distribution: 1.96 at a level of 0.95."""
    return NormalDist().inv_cdf((1 + checked(level)) / 2)


def student(level: float, freedom: float) -> float:
    """The two-sided quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + checked(level)) / 2))


def student_p(t: float, freedom: float) -> float:
    """The two-sided p-value of Student's t."""
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -abs(t)))


def sign_p(ups: int, downs: int) -> float:
    """Exact two-sided p-value of ups and downs where either is as likely: McNemar's test of discordant pairs."""
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(ups, downs), ups + downs, 0.5)))


def checked(level: float) -> float:
    """The level of an interval; `ValueError` outside 0..1."""
    if not 0 < level < 1:
        raise ValueError(f"the level of an interval lies between 0 and 1, not at {level}")
    return level


def numbers(values: Sequence[float] | Floats) -> Floats:
    """The values as an array [n]; `ValueError` where one is not a finite number."""
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or not np.isfinite(found).all():
        raise ValueError("values are a list of finite numbers")
    return found


def is_binary(values: Floats) -> bool:
    """Whether all values are 0 or 1."""
    return bool(((values == 0) | (values == 1)).all())
