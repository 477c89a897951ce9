"""What people said, in figures: who wins, what is acceptable, whether a side wins, and how far people agree.

Rates take one vote a pair, the first (see `votes`); agreement takes all. Between two people a preference agrees when
both say the same of three (one model, the other, a tie); relaxed, a tie against a winner is half an agreement.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

from caravan.eval import statistics
from caravan.eval.human import judge as judges
from caravan.eval.human.figures import Pairs, alike, alpha, alpha_of_both, estimate, flat, known, share, winner
from caravan.eval.human.votes import Vote, by_pair, read_votes
from caravan.eval.statistics import agreement

RESAMPLES = 10_000  # of alpha over the three words, the figure that people quote; a fifth of it for the others
WIDTH = 0.1
ENOUGH = 20  # pairs judged twice
RULE = (
    "a person's latest vote on a pair counts; the first person's vote gives the rates; agreement is between the first "
    "two (Krippendorff's alpha: between all)"
)


@dataclass(frozen=True)
class Report:
    """The figures as values of JSON, for programs and for `showing`; shares are 0..1, and null where nothing says."""

    told: dict[str, Any]


def report(source: Path, *, groups: Mapping[str, str] | None = None, judge: Path | None = None) -> Report:
    """The report of a store's folder or of a sheet.

    `groups` (person to group) counts over the groups that are there. `judge` is a file of a judge's verdicts on the
    same items, to be set against people's. `UserError` where a file cannot be read.
    """
    votes = read_votes(source, groups)
    rows = votes.rows
    pairs = by_pair(rows)
    verdicts = judges.read(judge, pairs) if judge is not None else None
    models = [_models(a, b, own, verdicts) for (a, b), own in sorted(_by_models(pairs).items())]
    told: dict[str, Any] = {
        "source": str(source),
        "rule": RULE,
        "notes": votes.notes + (verdicts.notes if verdicts else []),
        "votes": len(rows),
        "replaced": votes.replaced,
        "people": len({row.annotator for row in rows}),
        "items": len(pairs),
        "not_judged": dict(sorted(Counter(row.reason for row in rows if row.preference is None).items())),
        "models": models,
        "agreement": models[0]["agreement"] if len(models) == 1 else _agreement(pairs),
        "position": _position(rows),
        "groups": _groups(rows),
        "between": _between(pairs),
        "persons": _persons(rows, pairs),
        "repeats": _repeats(rows),
    }
    return Report(told)


def _by_models(pairs: Pairs) -> dict[tuple[str, str], dict[tuple[str, str, str], list[Vote]]]:
    found: dict[tuple[str, str], dict[tuple[str, str, str], list[Vote]]] = {}
    for key, votes in pairs.items():
        found.setdefault(key[:2], {})[key] = votes
    return found


def _rates(a: str, b: str, firsts: Sequence[Vote]) -> dict[str, Any]:
    """Wins, ties and acceptance from one vote a pair."""
    winners = [winner(vote) for vote in firsts]
    told: dict[str, Any] = {
        "a": a,
        "b": b,
        "n": len(firsts),
        "a_wins": estimate([float(w < 0) for w in winners]),
        "ties": estimate([float(w == 0) for w in winners]),
        "b_wins": estimate([float(w > 0) for w in winners]),
        "a_win_rate": estimate([(1 - w) / 2 for w in winners]),
        "clearly": {"a": sum(v.toward(a) == 2 for v in firsts), "b": sum(v.toward(b) == 2 for v in firsts)},
    }
    said = [(x, y) for v in firsts if (x := v.acceptable(a)) is not None and (y := v.acceptable(b)) is not None]
    ones, twos = [float(x) for x, _ in said], [float(y) for _, y in said]
    told["a_acceptable"], told["b_acceptable"] = estimate(ones), estimate(twos)
    if said:
        difference = statistics.difference(ones, twos)
        told["acceptable_difference"] = flat(difference.estimate) | {"p": difference.p}
    return told


def _models(a: str, b: str, pairs: Pairs, verdicts: judges.Verdicts | None) -> dict[str, Any]:
    told = _rates(a, b, [votes[0] for votes in pairs.values()])
    told["agreement"] = _agreement(pairs)
    told["judge"] = judges.against(pairs, verdicts) if verdicts is not None else None
    return told


def _agreement(pairs: Pairs) -> dict[str, Any]:
    """How far people agree, on the pairs that more than one judged."""
    shared = [votes for votes in pairs.values() if len(votes) > 1]
    winners = [[winner(vote) for vote in votes] for votes in shared]
    two = [(said[0], said[1]) for said in winners]
    told: dict[str, Any] = {
        "n": len(shared),
        "raw": estimate([float(one == other) for one, other in two]),
        "relaxed": estimate([alike(one, other) for one, other in two]),
        "kappa": _kappa(winners),
        "alpha": alpha(winners, "nominal", RESAMPLES),
        "alpha_five": alpha([[v.toward(v.models[1]) for v in votes] for votes in shared], "ordinal", RESAMPLES // 5),
    }
    oks = [[said for said in _acceptances(votes) if len(said) > 1] for votes in shared]
    same = [(str(n), float(said[0] == said[1])) for n, both in enumerate(oks) for said in both]
    told["acceptable_raw"] = estimate([value for _, value in same], [pair for pair, _ in same])
    told["acceptable_alpha"] = alpha_of_both([both for both in oks if both], RESAMPLES // 5)
    told["needed"] = _needed(told["alpha"])
    return told


def _needed(found: Mapping[str, Any] | None) -> int | None:
    """Pairs judged twice that would give alpha an interval of `WIDTH` to either side, if people go on as they did.

    The interval narrows with the square root of the pairs. None where there are too few to tell.
    """
    if found is None or found["low"] is None or found["n"] < ENOUGH:
        return None
    half = float(found["high"] - found["low"]) / 2
    return math.ceil(int(found["n"]) * (half / WIDTH) ** 2)


def _kappa(winners: Sequence[Sequence[int]]) -> float | None:
    """Fleiss' kappa where always the same number of people, above two, judged; else Cohen's, of the first two."""
    if not winners:
        return None
    if len({len(said) for said in winners}) == 1 and len(winners[0]) > 2:
        return known(agreement.fleiss(winners))
    return known(agreement.cohen([said[0] for said in winners], [said[1] for said in winners]))


def _acceptances(votes: Sequence[Vote]) -> list[list[int]]:
    """What people said of either answer of a pair."""
    said = [[vote.acceptable(model) for vote in votes] for model in votes[0].models]
    return [[int(ok) for ok in answers if ok is not None] for answers in said]


def _position(rows: Sequence[Vote]) -> dict[str, Any] | None:
    """The share of decided votes that the left side won."""
    return estimate([float(v.preference < 0) for v in rows if v.preference])


def _groups(rows: Sequence[Vote]) -> list[dict[str, Any]]:
    """The same figures from each group of people alone; nothing where there are no groups."""
    names = sorted({row.group for row in rows})
    if len(names) < 2:
        return []
    found = []
    for name in names:
        own = [row for row in rows if row.group == name]
        pairs = by_pair(own)
        found.append(
            {
                "group": name,
                "people": len({row.annotator for row in own}),
                "votes": len(own),
                "models": [
                    _rates(a, b, [votes[0] for votes in some.values()])
                    for (a, b), some in sorted(_by_models(pairs).items())
                ],
                "agreement": _agreement(pairs),
                "position": _position(own),
            }
        )
    return found


def _between(pairs: Pairs) -> list[dict[str, Any]]:
    """How far groups agree with each other: each group's first vote on a pair beside the other's."""
    firsts = {key: {vote.group: vote for vote in reversed(votes)} for key, votes in pairs.items()}
    names = sorted({group for one in firsts.values() for group in one})
    found = []
    for one, other in combinations(names, 2):
        both = {key: [first[one], first[other]] for key, first in firsts.items() if one in first and other in first}
        found.append({"groups": [one, other], "agreement": _agreement(both)})
    return found


def _persons(rows: Sequence[Vote], pairs: Pairs) -> list[dict[str, Any]]:
    """Each person: how much they judged, how, and how far others agree with them."""
    agreed: dict[str, list[float]] = {}
    for votes in pairs.values():
        for one, other in combinations(votes, 2):
            like = float(winner(one) == winner(other))
            for person in (one.annotator, other.annotator):
                agreed.setdefault(person, []).append(like)
    found = []
    for name in sorted({row.annotator for row in rows}):
        own = [row for row in rows if row.annotator == name]
        judged = [row for row in own if row.preference is not None]
        oks = [ok for row in judged for ok in (row.left_ok, row.right_ok) if ok is not None]
        seconds = [row.seconds for row in own if row.seconds is not None]
        found.append(
            {
                "person": name,
                "group": own[0].group,
                "votes": len(own),
                "not_judged": len(own) - len(judged),
                "ties": share([row.preference == 0 for row in judged]),
                "left": share([row.preference < 0 for row in judged if row.preference]),
                "acceptable": share(oks),
                "agrees": share(agreed.get(name, [])),
                "shared": len(agreed.get(name, [])),
                "seconds": median(seconds) if seconds else None,
            }
        )
    return found


def _repeats(rows: Sequence[Vote]) -> dict[str, Any] | None:
    """How far people agree with themselves, where a pair was shown twice, its sides changed."""
    first = {(row.annotator, row.key): row for row in rows if not row.again and row.preference is not None}
    twice = [
        (first[row.annotator, row.key], row)
        for row in rows
        if row.again and row.preference is not None and (row.annotator, row.key) in first
    ]
    same = estimate([float(winner(one) == winner(two)) for one, two in twice])
    # Who picks the same side both times picked a side, not an answer.
    stuck = share([bool(one.preference) and (one.preference or 0) * (two.preference or 0) > 0 for one, two in twice])
    return same and same | {"same_side": stuck}
