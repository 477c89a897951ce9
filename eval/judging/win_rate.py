"""From a judge's verdicts on both orders of each pair to a win rate, and to what the judge's own habits did to it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from caravan.errors import UserError
from caravan.eval import statistics
from caravan.eval.statistics import Estimate

EVEN = 0.5


@dataclass(frozen=True, slots=True)
class WinRate:
    """A model against a reference, each pair judged in both orders. Shares are 0..1.

    `rate`: the mean of both orders' preference for the model, over pairs with both verdicts; None without any.
    `flips`: pairs in which the two orders do not name the same winner (a draw is one). `reversed_` of these name
    opposite ones. `position`: the preference for whichever answer stood first, minus a half; 0 is a fair judge.
    `bounds`: the rate, were each missing verdict the worst, or the best, for the model; over all `n` pairs.
    `unparsed` verdicts are missing, in `incomplete` pairs.
    """

    rate: Estimate | None
    flips: Estimate | None
    reversed_: int
    position: Estimate | None
    n: int
    incomplete: int
    unparsed: int
    bounds: tuple[float, float]


def win_rate(
    model_first: Sequence[float | None],
    model_second: Sequence[float | None],
    groups: Sequence[str] | None = None,
    *,
    level: float = 0.95,
) -> WinRate:
    """The win rate of pairs judged with the model's answer first, and again with it second.

    Both sequences are the preference for the *model* (0..1; None: no verdict that can be read). `groups` are strata:
    where the prompts come from. Raises `UserError` for no pairs, and for values that are no preferences.
    """
    n = len(model_first)
    if not n or len(model_second) != n or (groups is not None and len(groups) != n):
        raise UserError(f"{n} and {len(model_second)} verdicts", fix="give one for each order of each pair")
    if not all(0 <= value <= 1 for value in (*model_first, *model_second) if value is not None):
        raise UserError("a preference is not between 0 and 1", fix="give None where there is no verdict")
    both = [
        (first, second, groups[i] if groups is not None else "")
        for i, (first, second) in enumerate(zip(model_first, model_second, strict=True))
        if first is not None and second is not None
    ]
    missing = sum(value is None for value in (*model_first, *model_second))
    strata = [group for _, _, group in both] if groups is not None else None

    def over_pairs(values: list[float]) -> Estimate | None:
        return statistics.mean(values, strata=strata, level=level) if values else None

    first_wins = over_pairs([(first + 1 - second) / 2 for first, second, _ in both])
    worst = sum(0.0 if value is None else value for value in (*model_first, *model_second))
    return WinRate(
        rate=over_pairs([(first + second) / 2 for first, second, _ in both]),
        flips=over_pairs([float(_side(first) != _side(second)) for first, second, _ in both]),
        reversed_=sum(_side(first) * _side(second) < 0 for first, second, _ in both),
        position=None if first_wins is None else _less_half(first_wins),
        n=n,
        incomplete=n - len(both),
        unparsed=missing,
        bounds=(worst / (2 * n), (worst + missing) / (2 * n)),
    )


def _less_half(share: Estimate) -> Estimate:
    return replace(share, value=share.value - EVEN, low=share.low - EVEN, high=share.high - EVEN)


def _side(preference: float) -> int:
    """1 for the model, -1 for the reference, 0 for neither."""
    return (preference > EVEN) - (preference < EVEN)
