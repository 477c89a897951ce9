"""Small figures that the report and its comparison with a judge share."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from caravan.eval import statistics
from caravan.eval.human.votes import Vote
from caravan.eval.statistics import Estimate, agreement

Pairs = Mapping[tuple[str, str, str], list[Vote]]


def winner(vote: Vote) -> int:
    """-1, 0 or 1: the first of the two models, a tie, the second."""
    toward = vote.toward(vote.models[1])
    return (toward > 0) - (toward < 0)


def alike(one: int, two: int) -> float:
    """Relaxed agreement of two winners: a tie against a winner is half an agreement."""
    return 1.0 if one == two else 0.5 if not one or not two else 0.0


def estimate(values: Sequence[float], clusters: Sequence[str] | None = None) -> dict[str, Any] | None:
    """A mean with its interval, as a value of JSON; None of nothing."""
    return flat(statistics.mean(values, clusters=clusters)) if values else None


def flat(found: Estimate) -> dict[str, Any]:
    """An estimate as a value of JSON."""
    told = {"value": found.value, "stderr": found.stderr, "low": found.low, "high": found.high}
    return {name: known(value) for name, value in told.items()} | {"n": found.n}


def known(value: float) -> float | None:
    """The value; None for NaN, which says that the figure is not defined."""
    return None if math.isnan(value) else value


def share(values: Sequence[float]) -> float | None:
    """The mean; None of nothing."""
    return sum(values) / len(values) if values else None


def alpha(
    units: Sequence[Sequence[int]], level: Literal["nominal", "ordinal"], resamples: int
) -> dict[str, Any] | None:
    """Krippendorff's alpha with its interval, as a value of JSON; None of nothing."""
    return flat(agreement.agreement(units, level, resamples=resamples).alpha) if units else None


def alpha_of_both(pairs: Sequence[Sequence[Sequence[int]]], resamples: int) -> dict[str, Any] | None:
    """Alpha of what was said of each answer, drawing pairs: two answers to one question are not two questions."""
    if not pairs:
        return None

    def of(drawn: Iterable[int]) -> float:
        return agreement.alpha([said for number in drawn for said in pairs[number]])

    return flat(statistics.bootstrap(of, len(pairs), resamples=resamples))
