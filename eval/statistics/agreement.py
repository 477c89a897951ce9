"""How far raters agree: raw, Cohen's and Fleiss' kappa, Krippendorff's alpha, and how common each category is.

Ratings are [items][raters]; None is a rating that is missing. A figure is NaN where it is not defined: where no item
has two ratings, and (but for the raw one) where all ratings are one category, so that chance alone would agree too.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, SupportsFloat, TypeVar

import numpy as np
from numpy.typing import NDArray

from caravan.eval.statistics.bootstrap import bootstrap
from caravan.eval.statistics.estimates import Estimate, Floats
from caravan.eval.statistics.means import mean

Rating = TypeVar("Rating", bound=Hashable)
Ratings = Sequence[Sequence[Rating | None]]
Measure = Literal["nominal", "ordinal", "interval"]
RESAMPLES = 2000
_UNORDERED = {"interval": "", "ordinal": " unless `order` names them from low to high"}


@dataclass(frozen=True, slots=True)
class Agreement:
    """What stands side by side, since any one alone misleads: 85% raw agreement can be an alpha of 0.48.

    `kappa` is Cohen's for two raters and Fleiss' for more, where every item has all ratings (`kappa_name`), else None.
    `prevalence` is the share of each category in the ratings that can be compared. `items` have two ratings or more.
    """

    items: int
    raw: Estimate
    alpha: Estimate
    kappa: Estimate | None
    kappa_name: str
    prevalence: dict[str, float]
    note: str


def agreement(
    ratings: Ratings[Rating],
    measure: Measure = "nominal",
    *,
    order: Sequence[Rating] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> Agreement:
    """All figures with their intervals; the bootstrap of kappa and alpha draws whole items, with all their ratings.

    `order` names the categories from low to high; left out, numbers are in their own order. `ValueError` where
    `measure` cannot be taken (an interval between words) or a rating is not in `order`.
    """
    categories, counts = _counts(ratings, order)
    gaps = _gaps(categories, measure, order is not None)
    n = len(counts)

    def interval(figure: Callable[[NDArray[np.int64]], float]) -> Estimate:
        return bootstrap(figure, n, resamples=resamples, seed=seed, level=level)

    paired = [[r for r in row if r is not None] for row in ratings]
    paired = [row for row in paired if len(row) > 1]
    raters = {len(row) for row in paired}
    kappa, name = None, ""
    if raters == {2} and all(len(row) == 2 for row in ratings):
        codes = _codes(paired, categories)
        kappa, name = interval(lambda drawn: _cohen(codes[drawn], len(categories))), "Cohen"
    elif len(raters) == 1:
        kappa, name = interval(lambda drawn: _fleiss(counts[drawn])), "Fleiss"
    shares = counts.sum(0) / max(counts.sum(), 1)
    return Agreement(
        n,
        mean(_agreeing(counts), level=level),
        interval(lambda drawn: _alpha(counts[drawn], gaps)),
        kappa,
        name,
        {str(c): float(share) for c, share in zip(categories, shares, strict=True)},
        _note(categories, counts),
    )


def raw(ratings: Ratings[Rating]) -> float:
    """The share of pairs of ratings of one item that agree, each item counting alike."""
    return _raw(_counts(ratings, None)[1])


def cohen(a: Sequence[Rating], b: Sequence[Rating]) -> float:
    """Cohen's kappa (1960) of two raters, `a[i]` and `b[i]` of one item; `ValueError` where lengths differ."""
    if len(a) != len(b):
        raise ValueError(f"{len(a)} ratings beside {len(b)}")
    pairs = [list(pair) for pair in zip(a, b, strict=True)]
    categories, _ = _counts(pairs, None)
    return _cohen(_codes(pairs, categories), len(categories))


def fleiss(ratings: Ratings[Rating]) -> float:
    """Fleiss' kappa (1971): raters are anybody, but each item has as many. `ValueError` where it has not."""
    if len({sum(r is not None for r in row) for row in ratings}) > 1:
        raise ValueError("Fleiss' kappa wants as many ratings of each item; alpha does not")
    return _fleiss(_counts(ratings, None)[1])


def alpha(ratings: Ratings[Rating], measure: Measure = "nominal", *, order: Sequence[Rating] | None = None) -> float:
    """Krippendorff's alpha (2011): any number of raters, ratings missing; items with one rating count for nothing.

    1 is perfect, 0 what chance gives. `order` and `ValueError` as in `agreement`.
    """
    categories, counts = _counts(ratings, order)
    return _alpha(counts, _gaps(categories, measure, order is not None))


def _counts(ratings: Ratings[Rating], order: Sequence[Rating] | None) -> tuple[list[Rating], Floats]:
    """The categories in order, and how often each was said of each item that has two ratings, [items, categories]."""
    rows = [[r for r in row if r is not None] for row in ratings]
    if not all(math.isfinite(size) for row in rows for size in _sizes(row).values()):
        raise ValueError("a rating is a category or a finite number; None is one that is missing")
    rows = [row for row in rows if len(row) > 1]
    said = {r for row in rows for r in row}
    if order is not None and not said <= set(order):
        raise ValueError(f"a rating is not in the order: {sorted(map(repr, said - set(order)))[0]}")
    categories = list(order) if order is not None else _sorted(said)
    counts = np.zeros((len(rows), len(categories)))
    np.add.at(counts, (np.repeat(np.arange(len(rows)), [len(row) for row in rows]), _flat(rows, categories)), 1)
    return categories, counts


def _sorted(said: set[Rating]) -> list[Rating]:
    """Numbers by size, else by their text (which a set's own order must not decide)."""
    size = _sizes(said)
    return sorted(said, key=size.__getitem__ if len(size) == len(said) else repr)


def _sizes(said: Iterable[Rating]) -> dict[Rating, float]:
    """The ratings that are numbers, NumPy's too."""
    sizes: dict[Rating, float] = {}
    for rating in said:
        anything: Any = rating
        if isinstance(anything, SupportsFloat):
            sizes[rating] = float(anything)
    return sizes


def _flat(rows: Sequence[Sequence[Rating]], categories: Sequence[Rating]) -> NDArray[np.int64]:
    number = {category: i for i, category in enumerate(categories)}
    return np.array([number[r] for row in rows for r in row], dtype=np.int64)


def _codes(rows: Sequence[Sequence[Rating]], categories: Sequence[Rating]) -> NDArray[np.int64]:
    return _flat(rows, categories).reshape(-1, 2)


def _gaps(categories: Sequence[Rating], measure: Measure, ordered: bool) -> Callable[[Floats], Floats]:
    """The squared distance of categories [C, C], of how often each was said [C]."""
    fixed: Floats = 1 - np.eye(len(categories))
    if measure == "nominal":
        return lambda _: fixed
    sizes = list(_sizes(categories).values())
    if len(sizes) < len(categories) and (measure == "interval" or not ordered):
        raise ValueError(f"ratings that are no numbers have no {measure} distance" + _UNORDERED[measure])
    if measure == "interval":
        fixed = np.subtract.outer(sizes, sizes) ** 2
        return lambda _: fixed

    def ordinal(said: Floats) -> Floats:
        # the ratings from one category to the other, those of the two themselves counted half
        middle = np.cumsum(said) - said / 2
        return np.asarray(np.subtract.outer(middle, middle) ** 2)

    return ordinal


def _agreeing(counts: Floats) -> Floats:
    """Of each item the share of its pairs of ratings that agree."""
    raters = counts.sum(1)
    return np.asarray((counts * (counts - 1)).sum(1) / (raters * (raters - 1)))


def _raw(counts: Floats) -> float:
    return float(_agreeing(counts).mean()) if len(counts) else math.nan


def _cohen(codes: NDArray[np.int64], categories: int) -> float:
    if not len(codes):
        return math.nan
    one, two = (np.bincount(codes[:, side], minlength=categories) / len(codes) for side in (0, 1))
    return _beyond(float((codes[:, 0] == codes[:, 1]).mean()), float(one @ two))


def _fleiss(counts: Floats) -> float:
    if not len(counts):
        return math.nan
    shares = counts.sum(0) / counts.sum()
    return _beyond(_raw(counts), float(shares @ shares))


def _beyond(observed: float, chance: float) -> float:
    """Agreement beyond chance; NaN where chance alone always agrees."""
    return (observed - chance) / (1 - chance) if chance < 1 - 1e-12 else math.nan


def _alpha(counts: Floats, gaps: Callable[[Floats], Floats]) -> float:
    said = counts.sum(0)
    n = said.sum()
    if n < 2:
        return math.nan
    gap = gaps(said)
    weighted = counts / (counts.sum(1, keepdims=True) - 1)
    observed = float(((weighted.T @ counts) * gap).sum())  # a rating beside itself has no gap
    expected = float(said @ gap @ said) / float(n - 1)
    return 1 - observed / expected if expected > 0 else math.nan


def _note(categories: Sequence[Rating], counts: Floats) -> str:
    if not len(counts):
        return "no item has two ratings, so nothing can be said of agreement"
    said = [str(c) for c, total in zip(categories, counts.sum(0), strict=True) if total]
    if len(said) == 1:
        return f"every rating is {said[0]}: kappa and alpha are not defined, as chance would agree as well"
    return ""
