"""A judge against people: how often it names the winner that they name, in each order and in both."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from caravan.errors import UserError
from caravan.eval import statistics
from caravan.eval.judging.judge import Judgement, both_orders
from caravan.eval.statistics import Estimate
from caravan.eval.statistics.agreement import Agreement, agreement

EVEN = 0.5


@dataclass(frozen=True, slots=True)
class Against:
    """A judge beside people, on the pairs of which both have a verdict; a winner is A, B or a tie.

    `relaxed` counts a half where one of the two says tie and the other does not. `decided` is the agreement on the
    pairs where neither says tie (None without any). `bias` is the judge's preference for A less the people's.
    """

    agreement: Agreement
    relaxed: Estimate
    decided: Estimate | None
    bias: Estimate


@dataclass(frozen=True, slots=True)
class AgainstPeople:
    """By order; `both` is the mean of the two orders, so that a judge who flips says tie.

    `consistent` are the pairs on which both orders name the same winner. `without_verdict` pairs were judged by people
    and lack one of the judge's verdicts, `unknown` ones were not given to the judge.
    """

    both: Against | None
    first: Against | None
    second: Against | None
    consistent: Against | None
    without_verdict: int
    unknown: int


def agreement_with_people(judgements: Sequence[Judgement], human: Mapping[str, float]) -> AgainstPeople:
    """Compare a judge's verdicts with people's preference for output_a (0..1, 0.5 a tie) by the pair's id.

    `first` has the verdicts with output_a shown first, `second` those with it second. Raises `UserError` where no pair
    was judged by both, and for values that are no preferences.
    """
    for name, value in human.items():
        if not 0 <= value <= 1:
            raise UserError(f"the preference for pair {name!r} is {value}", fix="give a number from 0 to 1")
    verdicts = both_orders(judgements)
    shared = [(human[name], verdicts[name]["ab"], verdicts[name]["ba"]) for name in sorted(human) if name in verdicts]
    if not shared:
        raise UserError("people and the judge have no pair in common", fix="give the judgement of the same pairs")
    whole = [(said, first, second) for said, first, second in shared if first is not None and second is not None]
    return AgainstPeople(
        both=_against((said, (first + second) / 2) for said, first, second in whole),
        first=_against((said, first) for said, first, _ in shared if first is not None),
        second=_against((said, second) for said, _, second in shared if second is not None),
        consistent=_against((said, first) for said, first, second in whole if _winner(first) == _winner(second)),
        without_verdict=len(shared) - len(whole),
        unknown=len(human) - len(shared),
    )


def _against(pairs: Iterable[tuple[float, float]]) -> Against | None:
    """People's preference beside the judge's, pair by pair."""
    both = list(pairs)
    if not both:
        return None
    winners = [(_winner(people), _winner(judge)) for people, judge in both]
    decided = [float(p == j) for p, j in winners if "tie" not in (p, j)]
    relaxed = [1.0 if p == j else EVEN if "tie" in (p, j) else 0.0 for p, j in winners]
    return Against(
        agreement(winners),
        statistics.mean(relaxed),
        statistics.mean(decided) if decided else None,
        statistics.mean([judge - people for people, judge in both]),
    )


def _winner(preference: float) -> str:
    return "tie" if preference == EVEN else "A" if preference > EVEN else "B"
