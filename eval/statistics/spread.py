"""The sampling error of a weighted mean of items that lie in fixed strata and share clusters.

A stratum is fixed: on another day the same tasks would be asked, with other items. Clusters (a shared passage or
prompt) are drawn, so the residuals of a cluster's items are added up before they are squared (Miller, 2024, arXiv
2411.00640). Clusters may lie across strata, as one problem in several languages does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from caravan.eval.statistics.estimates import Average, Estimate, Floats, numbers, student, student_p, unknown
from caravan.eval.statistics.intervals import root

Numbers = NDArray[np.int64]
FEW = 30  # below so many clusters the t interval of unequal clusters is too narrow
DRAWS = 1999  # of signs
ALL_SIGNS = 10  # clusters up to which all patterns of signs are taken instead


@dataclass(frozen=True)
class Sample:
    """Items' values and weights [n] with their weighted sum, and the numbers of their stratum and of their cluster."""

    value: float
    values: Floats
    weights: Floats
    strata: Numbers
    clusters: Numbers
    clustered: bool

    @property
    def count_strata(self) -> int:
        """How many strata there are."""
        return int(self.strata.max()) + 1

    @property
    def count_clusters(self) -> int:
        """How many clusters there are; items, where these share nothing."""
        return int(self.clusters.max()) + 1

    @property
    def shared(self) -> int | None:
        """How many clusters there are, None where items share nothing."""
        return self.count_clusters if self.clustered else None

    @property
    def strata_words(self) -> str:
        """How many strata there are, for a method's name."""
        return f"{self.count_strata:,} strata"

    def clusters_where(self, items: NDArray[np.bool_]) -> int:
        """How many clusters have one of these items."""
        return len(np.unique(self.clusters[items]))


def sample(values: Floats, strata: Sequence[str] | None, clusters: Sequence[str] | None, average: Average) -> Sample:
    """The items of a mean over items ("micro") or over strata ("macro")."""
    n = len(values)
    for name, labels in (("strata", strata), ("clusters", clusters)):
        if labels is not None and len(labels) != n:
            raise ValueError(f"{n} values but {len(labels)} {name}")
    stratum = np.zeros(n, dtype=np.int64) if strata is None else np.unique(list(strata), return_inverse=True)[1]
    cluster = np.arange(n) if clusters is None else np.unique(list(clusters), return_inverse=True)[1]
    sizes = np.bincount(stratum)
    clustered = int(cluster.max()) + 1 < n
    if average == "micro":  # 164 of 164 is 1, not a sum of weights that is nearly 1
        return Sample(float(values.mean()), values, np.full(n, 1 / n), stratum, cluster, clustered)
    value = float((np.bincount(stratum, values) / sizes).mean())
    return Sample(value, values, 1 / (sizes[stratum] * len(sizes)), stratum, cluster, clustered)


def read(
    values: Sequence[float] | Floats,
    strata: Sequence[str] | None,
    clusters: Sequence[str] | None,
    average: Average,
    level: float,
) -> Sample | Estimate:
    """The items, or the estimate where they are too few for any."""
    found = numbers(values)
    if len(found) == 0:
        return unknown(math.nan, 0, None, level, "no item has a value")
    items = sample(found, strata, clusters, average)
    if len(found) == 1:
        return unknown(items.value, 1, None, level, "one item says nothing of others")
    return items


class Spread:
    """What the residuals of a sample say: the standard error, its degrees of freedom, the wild bootstrap.

    Items of one stratum and one cluster are a cell, [cells]. Within a stratum of G clusters, squares are multiplied by
    G / (G - 1). A stratum of one cluster cannot show its own spread: all such strata are taken as one, and a single
    such stratum together with the smallest other; that is on the safe side, as it adds differences between strata.
    """

    def __init__(self, items: Sample) -> None:
        strata = _collapsed(items.strata, items.clusters)
        keys, cell = np.unique(strata * (items.clusters.max() + 1) + items.clusters, return_inverse=True)
        self.stratum, self.cluster = np.divmod(keys, items.clusters.max() + 1)
        self.clusters_of = np.bincount(self.stratum)  # how many clusters each stratum has
        self.clusters = items.count_clusters
        self.few = items.clustered and self.clusters < FEW
        self.known = bool((self.clusters_of > 1).all())
        totals = np.bincount(strata, items.weights)
        means = np.bincount(strata, items.weights * items.values) / totals
        self.sums = np.bincount(cell, items.weights * (items.values - means[strata]))
        self.share = np.bincount(cell, items.weights) / totals[self.stratum]  # of its stratum, that a cell has
        self.push = self.share * np.abs(totals)[self.stratum] / np.abs(totals).sum()  # of a shift by 1, on a cell
        self.factor = np.sqrt(self.clusters_of / np.maximum(self.clusters_of - 1, 1))[self.stratum]

    @cached_property
    def stderr(self) -> float:
        """The standard error; NaN where all items are one cluster."""
        if not self.known:
            return math.nan
        sums = np.bincount(self.cluster, self.factor * self.sums)
        return math.sqrt(float(sums @ sums))

    @cached_property
    def freedom(self) -> float:
        """Degrees of freedom (Satterthwaite, 1946): clusters - 1 in one stratum, and never more than that."""
        parts = np.bincount(self.stratum, (self.factor * self.sums) ** 2)
        if not parts.any():
            return float(max(self.clusters - 1, 1))
        return min(float(parts.sum() ** 2 / (parts**2 / (self.clusters_of - 1)).sum()), float(self.clusters - 1))

    def wild(self, level: float) -> bool:
        """Whether there are so few clusters that the wild bootstrap is the better one, and enough for it to work."""
        return self.few and 2.0 ** (1 - self.clusters) < (1 - level) / 2

    def half_widths(self, level: float) -> tuple[float, float]:
        """How far the interval reaches below and above the value."""
        half = student(level, self.freedom) * self.stderr
        if not self.wild(level) or not half:
            return half, half
        return self._reach(level, half, 1), self._reach(level, half, -1)

    def p(self, value: float, level: float) -> float:
        """The two-sided p-value of no mean but 0, by the method that gives the interval at this level."""
        if not self.stderr:
            return float(value == 0)
        return self._wild_p(value) if self.wild(level) else student_p(value / self.stderr, self.freedom)

    def _reach(self, level: float, half: float, side: int) -> float:
        """The shift from the value at which the test's p-value falls to 1 - level."""
        far = half
        while self._wild_p(side * far) > 1 - level:
            far *= 2
        return root(lambda shift: 1 - level - self._wild_p(side * shift), 0.0, far, halvings=16)

    def _wild_p(self, shift: float) -> float:
        """The wild cluster bootstrap-t with the null imposed (Cameron, Gelbach and Miller, 2008; Rademacher signs).

        Under the null the value lies `shift` lower, in every stratum alike. The signs are the same in every call.
        """
        sums = self.sums + shift * self.push
        drawn = self._signs[:, self.cluster] * sums
        by_stratum = drawn @ (self.stratum[:, None] == np.arange(len(self.clusters_of)))
        residuals = (drawn - by_stratum[:, self.stratum] * self.share) * self.factor
        by_cluster = residuals @ (self.cluster[:, None] == np.arange(self.clusters))
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.abs(drawn.sum(1)) / np.sqrt((by_cluster**2).sum(1))
        return float((t >= abs(shift) / self.stderr * (1 - 1e-9)).mean())

    @cached_property
    def _signs(self) -> Floats:
        """Patterns of signs [draws, clusters]: all of them, or draws of a fixed seed."""
        g = self.clusters
        if g <= ALL_SIGNS:
            bits = np.arange(2**g)[:, None] >> np.arange(g) & 1
        else:
            bits = np.random.default_rng(0).integers(0, 2, (DRAWS, g))
        return np.asarray(bits * 2.0 - 1, dtype=np.float64)


def _collapsed(strata: Numbers, clusters: Numbers) -> Numbers:
    """Strata numbered anew, so that each has two clusters where that is possible."""
    while True:
        pairs = np.unique(np.stack([strata, clusters]), axis=1)
        sizes = np.bincount(pairs[0])
        lone = np.flatnonzero(sizes == 1)
        if not len(lone) or len(sizes) == 1:
            return strata
        if len(lone) == 1:
            others = np.where(np.arange(len(sizes)) == lone[0], sizes.max() + 1, sizes)
            lone = np.append(lone, np.argmin(others))
        strata = np.unique(np.where(np.isin(strata, lone), lone[0], strata), return_inverse=True)[1]
