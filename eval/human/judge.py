"""A judge's verdicts set against people's: does a model that judges say what people say?

A file of verdicts is JSON Lines, a JSON list or Parquet, a row a verdict: `id` (the item's, as in the store or the
sheet) and `winner` (a model's name, or "tie"); or `generator_1`, `generator_2` and `preference` as AlpacaEval writes
them (1: the first is better, 2: the second, 1.5: neither). Two verdicts on an item, as from both orders of the
answers, count as a tie where they disagree; `order`, where it is there, tells the orders apart. What was not
understood has null, and is counted.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caravan.errors import UserError
from caravan.eval import files, statistics
from caravan.eval.human import figures
from caravan.eval.human.figures import Pairs, winner
from caravan.eval.statistics import agreement

Key = tuple[str, str, str]
TIE = "tie"


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What the judge said of each pair, once or in each order: -1 (the first model), 0, 1, None (not understood).

    `by_order` has the same under the name of its order, where the file names orders.
    """

    said: dict[Key, list[int | None]]
    by_order: dict[str, dict[Key, int | None]]
    notes: list[str]


def read(path: Path, pairs: Pairs) -> Verdicts:
    """The verdicts on pairs that people judged; `UserError` names a row that cannot be read, or where none joins."""
    by_item: dict[str, list[Key]] = defaultdict(list)
    for key in pairs:
        by_item[key[2]].append(key)
    said: dict[Key, list[int | None]] = defaultdict(list)
    by_order: dict[str, dict[Key, int | None]] = defaultdict(dict)
    other = 0
    for where, row in files.rows(path):
        keys = [key for key in by_item[_id(row, where)] if _names(row) <= set(key[:2])]
        if not keys:
            other += 1
        elif len(keys) > 1:
            fix = 'add "generator_1" and "generator_2"'
            raise UserError("people judged this item for several models", where=where, fix=fix)
        else:
            said[keys[0]].append(_verdict(row, keys[0], where))
            if isinstance(row.get("order"), str):
                by_order[row["order"]][keys[0]] = said[keys[0]][-1]
    if not said:
        raise UserError("no verdict on what people judged", where=str(path), fix="give its rows the items' ids")
    notes = [f"{path}: {other:,} verdicts on what people did not judge are left out"] if other else []
    return Verdicts(dict(said), dict(sorted(by_order.items())), notes)


def against(pairs: Pairs, verdicts: Verdicts) -> dict[str, Any] | None:
    """The judge beside people, on the pairs that both judged: agreement, and the win rates that either gives.

    Beside it stands people's agreement with each other, which no judge need exceed.
    """
    both = {key: (winner(votes[0]), verdicts.said[key]) for key, votes in pairs.items() if key in verdicts.said}
    if not both:
        return None
    understood = {key: (one, _one(said)) for key, (one, said) in both.items() if None not in said}
    people = [one for one, _ in understood.values()]
    judge = [said for _, said in understood.values()]
    orders = [said for _, said in both.values() if len(said) > 1 and None not in said]
    told: dict[str, Any] = {
        "n": len(understood),
        "not_understood": len(both) - len(understood),
        "raw": figures.estimate([float(x == y) for x, y in zip(people, judge, strict=True)]),
        "relaxed": figures.estimate([figures.alike(x, y) for x, y in zip(people, judge, strict=True)]),
        "cohen": figures.known(agreement.cohen(people, judge)) if understood else None,
        "by_order": {order: _same(pairs, said) for order, said in verdicts.by_order.items()},
        "flips": figures.estimate([float(len(set(said)) > 1) for said in orders]),
        "a_win_rate": figures.estimate([(1 - y) / 2 for y in judge]),
        "people_a_win_rate": figures.estimate([(1 - x) / 2 for x in people]),
    }
    if understood:
        rates = [[(1 - x) / 2 for x in values] for values in (judge, people)]
        difference = statistics.difference(*rates)
        told["difference"] = figures.flat(difference.estimate) | {"p": difference.p}
    return told


def _same(pairs: Pairs, said: Mapping[Key, int | None]) -> dict[str, Any] | None:
    """How often the verdicts of one order name the winner that people name."""
    understood = [(winner(pairs[key][0]), one) for key, one in said.items() if key in pairs and one is not None]
    return figures.estimate([float(people == one) for people, one in understood])


def _one(said: Sequence[int | None]) -> int:
    """What verdicts in several orders come to: they agree, or it is a tie."""
    return said[0] or 0 if len(set(said)) == 1 else 0


def _id(row: Mapping[str, Any], where: str) -> str:
    own = row.get("id")
    if not isinstance(own, (str, int)) or isinstance(own, bool):
        raise UserError("no 'id'", where=where, fix="give the item's id, as people judged it")
    return str(own)


def _names(row: Mapping[str, Any]) -> set[str]:
    """The models that a row names."""
    named = {row.get(name) for name in ("generator_1", "generator_2")}
    if isinstance(row.get("winner"), str) and row["winner"] != TIE:
        named.add(row["winner"])
    return {name for name in named if isinstance(name, str)}


def _verdict(row: Mapping[str, Any], key: Key, where: str) -> int | None:
    if "winner" in row:
        found = row["winner"]
        if found is not None and not isinstance(found, str):
            raise UserError(f"'winner' is {found!r}", where=where, fix=f'name one of {key[0]!r}, {key[1]!r} and "tie"')
        return None if found is None else {key[0]: -1, TIE: 0, key[1]: 1}[found]
    preference, first = row.get("preference"), row.get("generator_1")
    if first not in key[:2] or row.get("generator_2") not in key[:2] or "preference" not in row:
        raise UserError("no 'winner'", where=where, fix=f'name one of {key[0]!r}, {key[1]!r} and "tie"')
    if preference is None:
        return None
    if isinstance(preference, bool) or not isinstance(preference, (int, float)) or not 1 <= preference <= 2:
        raise UserError(f"'preference' is {preference!r}", where=where, fix="write 1, 2 or what lies between")
    sign = (preference > 1.5) - (preference < 1.5)
    return sign if first == key[0] else -sign
