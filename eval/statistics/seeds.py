"""Several trainings of one setting: what their seeds add to the sampling error of items.

Every seed answers the same items, so a table [seeds, items] has three sources of chance: which items, which seeds, and
the rest. The variance of its mean is item part + seed part - rest, since the rest is in both (two-way random effects;
Searle, Casella and McCulloch, 1992), with Satterthwaite's degrees of freedom (1946).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from caravan.eval.statistics.estimates import Average, Difference, Estimate, Floats, numbers, student, student_p
from caravan.eval.statistics.means import mean
from caravan.eval.statistics.paired import difference
from caravan.eval.statistics.power import items_beside
from caravan.eval.statistics.spread import Spread, sample

Table = Sequence[Sequence[float] | Floats]
ITEMS_ONLY = "one training seed, so the interval covers items only"


@dataclass(frozen=True, slots=True)
class _Part:
    """A variance that was estimated, with its sign in the sum and its degrees of freedom."""

    variance: float
    freedom: float
    sign: int = 1


def pool_seeds(
    values_by_seed: Table,
    *,
    strata: Sequence[str] | None = None,
    clusters: Sequence[str] | None = None,
    average: Average = "micro",
    level: float = 0.95,
) -> Estimate:
    """The mean over seeds and items, with an interval that covers both: another training, other items like these.

    `values_by_seed` is [seeds, items], items in the same order. With one seed the interval covers items only, and
    `method` says so; so it does where all values are equal. `ValueError` where the seeds' lengths differ.
    """
    table = _table(values_by_seed)
    found = mean(table.mean(0), strata=strata, clusters=clusters, average=average, level=level)
    if len(table) == 1:
        return replace(found, method=f"{found.method}; {ITEMS_ONLY}")
    if math.isnan(found.stderr) or (table == table[0, 0]).all():
        return found
    items = sample(table.mean(0), strata, clusters, average)
    parts = [_Part(found.stderr**2, Spread(items).freedom), *_seeds(table, strata, clusters, average)]
    stderr, freedom = _total(parts)
    half = student(level, freedom) * stderr
    words = f"t interval over items and {len(table)} training seeds"
    return Estimate(
        items.value, stderr, items.value - half, items.value + half, table.shape[1], words, items.shared, level
    )


def seeds_difference(
    a_by_seed: Table,
    b_by_seed: Table,
    *,
    strata: Sequence[str] | None = None,
    clusters: Sequence[str] | None = None,
    average: Average = "micro",
    level: float = 0.95,
) -> Difference:
    """Setting A minus setting B, paired by item; each setting's seeds are its own, [seeds, items].

    The interval covers items, and the seeds of a setting that has two or more; `method` says which. `needed` items are
    None where the seeds alone leave more doubt than the difference: then more seeds help, not more items.
    """
    tables = {"A": _table(a_by_seed), "B": _table(b_by_seed)}
    a, b = (table.mean(0) for table in tables.values())
    found = difference(a, b, strata=strata, clusters=clusters, average=average, level=level)
    single = [name for name, table in tables.items() if len(table) == 1]
    if math.isnan(found.estimate.stderr):
        return found
    if len(single) == 2:
        return replace(found, estimate=replace(found.estimate, method=f"{found.estimate.method}; {ITEMS_ONLY}"))
    items = sample(a - b, strata, clusters, average)
    parts = [_Part(found.estimate.stderr**2, Spread(items).freedom)]
    parts += [part for table in tables.values() if len(table) > 1 for part in _seeds(table, strata, clusters, average)]
    stderr, freedom = _total(parts)
    value, half = items.value, student(level, freedom) * stderr
    words = f"t interval over items and {len(tables['A'])} + {len(tables['B'])} training seeds"
    words += "".join(f"; the one seed of {name} is taken as it is" for name in single)
    estimate = replace(found.estimate, stderr=stderr, low=value - half, high=value + half, method=words)
    p = student_p(value / stderr, freedom) if stderr else float(value == 0)
    from_seeds = max(stderr**2 - parts[0].variance, 0.0)
    needed = items_beside(value, math.sqrt(parts[0].variance * len(a)), from_seeds)
    return Difference(estimate, found.a_only, found.b_only, p, needed)


def _table(values_by_seed: Table) -> Floats:
    rows = [numbers(values) for values in values_by_seed]
    if not rows or len({len(row) for row in rows}) > 1:
        raise ValueError("every seed has a value for every item")
    return np.stack(rows)


def _seeds(
    table: Floats, strata: Sequence[str] | None, clusters: Sequence[str] | None, average: Average
) -> list[_Part]:
    """What seeds add: the variance of the mean of their scores, less the rest, which the item part has already."""
    k = len(table)
    scores = [sample(row, strata, clusters, average).value for row in table]
    rests = [Spread(sample(row, strata, clusters, average)) for row in table - table.mean(0)]
    rest = sum(one.stderr**2 for one in rests) / (k * (k - 1))
    freedom = (k - 1) * min(one.freedom for one in rests)
    return [_Part(float(np.var(scores, ddof=1)) / k, k - 1), _Part(rest, freedom, -1)]


def _total(parts: Sequence[_Part]) -> tuple[float, float]:
    """The standard error and its degrees of freedom; seeds never make it smaller than items alone, `parts[0]`."""
    variance = max(sum(part.sign * part.variance for part in parts), parts[0].variance)
    doubt = sum(part.variance**2 / part.freedom for part in parts)
    return math.sqrt(variance), variance**2 / doubt if doubt else parts[0].freedom
