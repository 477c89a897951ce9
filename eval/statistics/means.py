"""The mean of a run's items with its interval, and the difference of two groups of items."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from caravan.eval.statistics.estimates import Average, Estimate, Floats, is_binary, student, unknown
from caravan.eval.statistics.intervals import stratified_score
from caravan.eval.statistics.spread import DRAWS, Sample, Spread, read

RARE = 10  # below so many right (wrong, discordant) items the normal distribution is a bad guide
SMALL = 10  # strata below this size are joined for the score interval, with those of their own size


def mean(
    values: Sequence[float] | Floats,
    *,
    strata: Sequence[str] | None = None,
    clusters: Sequence[str] | None = None,
    average: Average = "micro",
    level: float = 0.95,
) -> Estimate:
    """The mean of items' values, over items or over strata, with its sampling error on these strata.

    `values`, `strata`, `clusters` are [items]. The standard error is sqrt(sum (s-m)^2 / (n-1) / n), within strata
    where there are any, of sums over clusters where items share something. Of values that are all 0 or 1 the interval
    is a score interval (Wilson's, if there are no strata); with clusters only where right or wrong answers are rare.
    Else it is a t interval, or a wild cluster bootstrap below 30 clusters. `ValueError` where lengths differ or a value
    is not finite.
    """
    items = read(values, strata, clusters, average, level)
    if isinstance(items, Estimate):
        return items
    spread = Spread(items)
    if not is_binary(items.values) or not spread.known:
        return by_spread(items, spread, level)
    rare = min(items.clusters_where(items.values == 0), items.clusters_where(items.values == 1))
    if items.clustered and not too_rare(rare, items) and spread.stderr > 0:
        found = by_spread(items, spread, level)
        return replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))
    low, high = stratified_score(*_score_parts(items), level)
    words = "Wilson score interval" if items.count_strata == 1 else f"score interval, {items.strata_words}"
    if items.clustered:
        words += f"; fewer than {RARE} clusters have a right or a wrong answer, so each is taken to agree in itself"
    return Estimate(items.value, spread.stderr, low, high, len(items.values), words, items.shared, level)


def across_groups(values: Sequence[float] | Floats, groups: Sequence[str], level: float = 0.95) -> Estimate:
    """The macro mean, with its error on other groups like these: groups are drawn, not fixed.

    `values`, `groups` are [items]. A t interval on the groups' means: it holds the spread between tasks, which
    `mean` leaves out.
    """
    items = read(values, None, groups, "micro", level)
    if isinstance(items, Estimate):
        return items
    means = np.bincount(items.clusters, items.values) / np.bincount(items.clusters)
    g, n = len(means), len(items.values)
    if g < 2:
        return unknown(items.value, n, g, level, "one group says nothing of others")
    value, stderr = float(means.mean()), float(means.std(ddof=1)) / math.sqrt(g)
    half = student(level, g - 1) * stderr
    words = f"t interval on the means of {g} groups: what others like these would show"
    return Estimate(value, stderr, value - half, value + half, n, words, g, level)


def two_groups(
    values: Sequence[float] | Floats,
    chosen: Sequence[bool],
    *,
    clusters: Sequence[str] | None = None,
    level: float = 0.95,
) -> Estimate:
    """The mean of the chosen items minus that of the others, of one run (clean against leaked items).

    `values`, `chosen`, `clusters` are [items]. Welch's t interval, residuals summed within clusters (which may lie in
    both groups); of values that are all 0 or 1, unless clusters are many, Newcombe's (1998, method 10).
    """
    groups = ["chosen" if flag else "others" for flag in chosen]
    items = read(values, groups, clusters, "micro", level)
    if isinstance(items, Estimate):
        return items
    own = np.array(groups) == "chosen"
    if own.all() or not own.any():
        return unknown(math.nan, len(own), items.shared, level, "one of the two groups is empty")
    value = float(items.values[own].mean() - items.values[~own].mean())
    signed = replace(items, value=value, weights=own / own.sum() - ~own / (~own).sum())
    counts = [items.clusters_where(group & (items.values == value)) for group in (own, ~own) for value in (0, 1)]
    if min(items.clusters_where(own), items.clusters_where(~own)) < 2:
        return unknown(signed.value, len(own), items.shared, level, "one of the two groups has no spread to see")
    spread = Spread(signed)
    if is_binary(items.values) and (not items.clustered or too_rare(min(counts), items)):
        parts = []
        for group in (own, ~own):
            labels = [f"{number}" for number in items.clusters[group]]
            parts.append(mean(items.values[group], clusters=labels, level=level))
        found = unpaired(*parts)
        return replace(found, stderr=spread.stderr, clusters=items.shared)
    return by_spread(signed, spread, level)


def unpaired(a: Estimate, b: Estimate) -> Estimate:
    """A minus B, of two independent estimates of the same level: other items, or other people.

    The interval is put together from theirs (Newcombe, 1998, method 10 where they are Wilson's; Zou and Donner, 2008,
    for any). Runs on the same items are compared by `difference`, which sees much smaller ones.
    """
    if a.level != b.level:
        raise ValueError(f"one interval is at {a.level}, the other at {b.level}")
    value = a.value - b.value
    low = value - math.hypot(a.value - a.low, b.high - b.value)
    high = value + math.hypot(a.high - a.value, b.value - b.low)
    words = f"from the two intervals ({a.method}; {b.method})" if a.method != b.method else f"from two of {a.method}"
    return Estimate(value, math.hypot(a.stderr, b.stderr), low, high, a.n + b.n, words, None, a.level)


def by_spread(items: Sample, spread: Spread, level: float) -> Estimate:
    """The t interval, or the wild cluster bootstrap's below 30 clusters; the method says which."""
    value, n, clusters = items.value, len(items.values), items.shared
    if not spread.known:
        return unknown(value, n, clusters, level, "all items are one cluster, which says nothing of others")
    below, above = spread.half_widths(level)
    words = "t interval"
    if spread.few:
        words = (
            f"wild cluster bootstrap, {min(DRAWS, 2**spread.clusters):,} patterns of signs"
            if spread.wild(level)
            else "t interval, hardly to be trusted"
        )
        words += f": only {spread.clusters} clusters"
    elif items.clustered:
        words += f", {spread.clusters:,} clusters"
    if items.count_strata > 1:
        words += f", {items.strata_words}"
    if not spread.stderr:
        words += "; the values show no spread at all"
    return Estimate(value, spread.stderr, value - below, value + above, n, words, clusters, level)


def _score_parts(items: Sample) -> tuple[Floats, Floats, Floats]:
    """Proportion, effective size and weight of each stratum, small strata of one size joined.

    Clusters count as if their items always agree: a stratum's effective size is n^2 / sum(size of a cluster ^ 2), and
    all are smaller yet where clusters lie across strata.
    """
    sizes = np.bincount(items.strata)
    stratum = np.unique(np.where(sizes < SMALL, -sizes, np.arange(len(sizes)))[items.strata], return_inverse=True)[1]
    n, weights = np.bincount(stratum).astype(np.float64), np.bincount(stratum, items.weights)
    (held_by, cluster), held = np.unique(np.stack([stratum, items.clusters]), axis=1, return_counts=True)
    parts = weights[held_by] * held / n[held_by]
    across = np.bincount(cluster, parts)
    effective = n**2 / np.bincount(held_by, held.astype(np.float64) ** 2) * float(parts @ parts / (across @ across))
    return np.bincount(stratum, items.values) / n, effective, np.asarray(weights, dtype=np.float64)


def too_rare(count: int, items: Sample) -> bool:
    """Whether so few clusters have what counts that neither their spread nor their number can be relied on."""
    return count < RARE and (not items.clustered or 2 * count < items.count_clusters)
