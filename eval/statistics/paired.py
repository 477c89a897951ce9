"""Two runs on the same items: the paired difference, its test, and the sentence that says what it shows."""

import math
from collections.abc import Sequence

import numpy as np

from caravan.eval.statistics.estimates import Average, Difference, Estimate, Floats, is_binary, numbers, sign_p
from caravan.eval.statistics.intervals import tango
from caravan.eval.statistics.means import by_spread, too_rare
from caravan.eval.statistics.power import needed_for
from caravan.eval.statistics.spread import Sample, Spread, read


def difference(
    a: Sequence[float] | Floats,
    b: Sequence[float] | Floats,
    *,
    strata: Sequence[str] | None = None,
    clusters: Sequence[str] | None = None,
    average: Average = "micro",
    level: float = 0.95,
) -> Difference:
    """Paired: `a[i]` and `b[i]` are two runs' values of one item, [items].

    The error is that of the mean of a - b, as in `mean`. Of values that are all 0 or 1, without strata and clusters or
    where the runs differ on few, the interval is Tango's score interval and `p` is McNemar's exact test (with clusters,
    the sign test of clusters). `ValueError` where lengths differ or a value is not finite.
    """
    one, two = numbers(a), numbers(b)
    if len(one) != len(two):
        raise ValueError(f"{len(one)} values of A, but {len(two)} of B")
    items = read(one - two, strata, clusters, average, level)
    ups, downs = int((one > two).sum()), int((one < two).sum())
    if isinstance(items, Estimate):
        return Difference(items, ups, downs, math.nan, None)
    spread = Spread(items)
    binary = is_binary(one) and is_binary(two) and spread.known
    plain = items.count_strata == 1 and not items.clustered
    few = too_rare(items.clusters_where(items.values != 0), items) or spread.stderr == 0
    if binary and (plain or few):
        estimate = _by_tango(items, spread.stderr, plain, level)
    else:
        estimate = by_spread(items, spread, level)
    if binary and not items.clustered and (average == "micro" or few):
        p = sign_p(ups, downs)
    elif binary and few:
        sums = np.bincount(items.clusters, items.values)
        p = sign_p(int((sums > 0).sum()), int((sums < 0).sum()))
    else:
        p = spread.p(items.value, level) if spread.known else math.nan
    return Difference(estimate, ups, downs, p, needed_for(estimate))


def verdict(
    found: Difference, a: str = "A", b: str = "B", *, p: float | None = None, lower_is_better: bool = False
) -> str:
    """One sentence for people: which run is better and by how much, or that nothing shows it.

    `p` replaces the difference's own where it was adjusted for a family (`holm`). A run is called better only where
    both the p-value and the interval say so. Values are shares, told in points (1 = 0.01).
    """
    one = found.estimate
    judged = found.p if p is None else p
    if math.isnan(one.low) or math.isnan(judged):
        return f"{one.n} items are too few to compare {a} with {b}"
    low, high, value = (100 * x for x in (one.low, one.high, one.value))
    if judged <= 1 - one.level and (low > 0 or high < 0):
        if value < 0:
            low, high, value = -high, -low, -value
        best = a if (one.value > 0) != lower_is_better else b
        return f"{best} is better by {value:.1f} points ({low:.1f} to {high:.1f})"
    words = f"no evidence of a difference ({low:+.1f} to {high:+.1f} points)"
    if found.needed is None or found.needed <= one.n:
        return words
    return f"{words}; you would need about {_rounded(found.needed):,} items"


def _by_tango(items: Sample, stderr: float, plain: bool, level: float) -> Estimate:
    """Tango's interval. With strata or clusters as of 1 / sum(weight of a cluster ^ 2) pairs: on the safe side."""
    weights = np.bincount(items.clusters, items.weights)
    n = len(items.values) if plain else 1 / float(weights @ weights)
    up, down = (float(items.weights @ (items.values == side)) for side in (1, -1))
    low, high = tango(min(up * n, n), min(down * n, n - up * n), n, level)
    words = "Tango score interval"
    if not plain:
        words += (
            f"; the runs differ on so few items that clusters and strata are taken to tell no more than {n:,.0f} would"
        )
    return Estimate(items.value, stderr, low, high, len(items.values), words, items.shared, level)


def _rounded(n: int) -> int:
    """Two digits: a plan is no more exact than its guess of the spread."""
    return round(n, 2 - len(str(n))) if n >= 100 else n
