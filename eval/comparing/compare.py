"""Runs side by side: each score with its interval, and what the difference of two runs shows, item by item.

The first arm is the baseline. Every other arm is compared with it on the items that both have a value for; the
p-values of the whole table (headline metrics) are adjusted together by Holm's method, those of further metrics among
themselves. Pairs without the baseline are adjusted over all pairs that there are, since nobody named them beforehand.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import polars as pl

from caravan.errors import UserError
from caravan.eval import statistics
from caravan.eval.comparing.arms import Arm, ArmTable, tables_of
from caravan.eval.comparing.runs import Figure, Key, clusters_of
from caravan.eval.statistics import Average, Difference, Estimate

MANY = 8  # arms above which only comparisons with the baseline are made


@dataclass(frozen=True)
class Score:
    """An arm's score on a benchmark. `without` counts the items that have no value, by status."""

    arm: str
    estimate: Estimate
    seeds: int
    items: int
    without: Mapping[str, int]
    unextractable: int
    groups: Mapping[str, Estimate]
    about: Mapping[str, str]


@dataclass(frozen=True)
class Pair:
    """What sets `arm` apart from `base`: `difference` is arm minus base, `p` adjusted for the family.

    `shared` items are in both, `used` of them have a value in both; `marks` say what else differs than the model.
    """

    base: str
    arm: str
    difference: Difference
    p: float
    verdict: str
    shared: int
    used: int
    base_only: int
    arm_only: int
    marks: list[str]


@dataclass(frozen=True)
class Bench:
    """One benchmark (in one variant, by one metric) with all arms that have it. `share`: values lie in 0..1."""

    key: Key
    headline: bool
    share: bool
    lower_is_better: bool
    scores: list[Score]
    pairs: list[Pair]
    others: list[Pair]
    tables: list[ArmTable]

    @property
    def name(self) -> str:
        """Benchmark and variant."""
        return " · ".join(part for part in self.key[:2] if part)


@dataclass(frozen=True)
class Comparison:
    """All benchmarks of all arms, headlines first.

    `family` tests of headlines against the baseline were adjusted together, `every` counts those of all pairs.
    """

    arms: list[str]
    benches: list[Bench]
    figures: list[tuple[str, Figure]]
    notes: list[str]
    family: int
    every: int


def compare(arms: Sequence[Arm]) -> Comparison:
    """The comparison of arms, the first of which is the baseline; of one arm only its scores."""
    if not arms:
        raise UserError("no run is named", fix="name at least one")
    tables, notes = tables_of(arms)
    notes = [f"{arm.name}: {note}" for arm in arms for run in arm.runs for note in dict.fromkeys(run.notes)] + notes
    benches = _adjusted([_bench(key, own, arms[0].name, len(arms) <= MANY) for key, own in tables.items()])
    headlines = [bench for bench in benches if bench.headline]
    return Comparison(
        [arm.name for arm in arms],
        benches,
        [(arm.name, figure) for arm in arms for run in arm.runs for figure in run.figures],
        notes,
        _tests([pair for bench in headlines for pair in bench.pairs]),
        _tests([pair for bench in headlines for pair in (*bench.pairs, *bench.others)]),
    )


def _tests(pairs: Sequence[Pair]) -> int:
    return sum(not math.isnan(pair.difference.p) for pair in pairs)


def _bench(key: Key, tables: Sequence[ArmTable], baseline: str, all_pairs: bool) -> Bench:
    lower = any(one.table.lower_is_better for one in tables)
    values = pl.concat([one.frame["score"] for one in tables]).drop_nulls()
    share = values.is_empty() or bool(values.is_between(0, 1).all())
    pairs, others = [], []
    for base, arm in combinations(tables, 2):
        if base.arm == baseline:
            pairs.append(_pair(base, arm))
        elif all_pairs:
            others.append(_pair(base, arm))
    headline = all(one.table.headline for one in tables)
    return Bench(key, headline, share, lower, [_score(one) for one in tables], pairs, others, list(tables))


def _score(own: ArmTable) -> Score:
    frame = own.frame.filter(pl.col("score").is_not_null())
    without = own.frame.filter(pl.col("score").is_null())["status"].value_counts().sort("status")
    groups = {}
    if frame["group"].n_unique() > 1:
        for (group,), part in frame.group_by("group", maintain_order=True):
            groups[str(group)] = statistics.mean(part["score"].to_numpy(), clusters=clusters_of(part))
    return Score(
        own.arm,
        _estimate(own, frame),
        own.seeds,
        len(own.frame),
        dict(without.iter_rows()),
        int((own.frame["status"] == "unextractable").sum()),
        dict(sorted(groups.items())),
        own.table.about,
    )


def _estimate(own: ArmTable, frame: pl.DataFrame) -> Estimate:
    if frame.is_empty():
        return Estimate(math.nan, math.nan, math.nan, math.nan, 0, "no item has a value")
    strata, average = _strata(frame, own.table.average)
    table = _by_seed(frame, own.seeds)
    if own.seeds == 1:
        return statistics.mean(table[0], strata=strata, clusters=clusters_of(frame), average=average)
    return statistics.pool_seeds(table, strata=strata, clusters=clusters_of(frame), average=average)


def _by_seed(frame: pl.DataFrame, seeds: int, column: str = "scores") -> list[list[float]]:
    return [frame[column].list.get(seed).to_list() for seed in range(seeds)]


def _strata(frame: pl.DataFrame, average: Average) -> tuple[list[str] | None, Average]:
    groups = frame["group"].to_list()
    return (groups, average) if len(set(groups)) > 1 else (None, "micro")


def _pair(base: ArmTable, arm: ArmTable) -> Pair:
    columns = ["id", "score", "scores", "prompt", "data"]
    both = base.frame.join(arm.frame.select(columns), on="id", suffix="_arm", maintain_order="left")
    used = both.filter(pl.col("score").is_not_null() & pl.col("score_arm").is_not_null())
    if used.is_empty():
        none = Estimate(math.nan, math.nan, math.nan, math.nan, 0, "no item has a value in both")
        difference = Difference(none, 0, 0, math.nan, None)
    else:
        same = base.table.average == arm.table.average
        strata, average = _strata(used, base.table.average if same else "micro")
        difference = statistics.seeds_difference(
            _by_seed(used, arm.seeds, "scores_arm"),
            _by_seed(used, base.seeds),
            strata=strata,
            clusters=clusters_of(used),
            average=average,
        )
    method = difference.estimate.method
    for letter, name in (("A", arm.arm), ("B", base.arm)):
        method = method.replace(f"the one seed of {letter} ", f"the one seed of {name} ")
    difference = replace(difference, estimate=replace(difference.estimate, method=method))
    return Pair(
        base.arm,
        arm.arm,
        difference,
        difference.p,
        "",
        len(both),
        len(used),
        len(base.frame) - len(both),
        len(arm.frame) - len(both),
        _marks(base, arm, both),
    )


def _marks(base: ArmTable, arm: ArmTable, both: pl.DataFrame) -> list[str]:
    """What differs beside the model, so that a difference may not be the model's."""
    one, two = base.table.about, arm.table.about
    marks = [
        f"{name} differs: {two.get(name, 'not said')} against {one.get(name, 'not said')}"
        for name in dict.fromkeys([*one, *two])
        if one.get(name) != two.get(name) and ((name in one and name in two) or name not in ("prompts", "data"))
    ]
    for column, words in (("prompt", "asked with other prompts"), ("data", "that are other items under one id")):
        known = both.filter((pl.col(column) != "") & (pl.col(f"{column}_arm") != ""))
        if n := len(known.filter(pl.col(column) != pl.col(f"{column}_arm"))):
            marks.append(f"shared items {words}: {n:,} of {len(both):,}")
    return marks


def _adjusted(benches: Sequence[Bench]) -> list[Bench]:
    """The benches with p-values adjusted over their family, and the verdicts that follow."""
    found = []
    for headline in (True, False):
        own = [bench for bench in benches if bench.headline == headline]
        named = iter(statistics.holm([pair.difference.p for bench in own for pair in bench.pairs]))
        every = iter(statistics.holm([pair.difference.p for bench in own for pair in (*bench.pairs, *bench.others)]))
        for bench in own:
            pairs = [_judged(pair, next(named), bench) for pair in bench.pairs]
            p = [next(every) for _ in (*bench.pairs, *bench.others)][len(pairs) :]
            others = [_judged(pair, adjusted, bench) for pair, adjusted in zip(bench.others, p, strict=True)]
            found.append(replace(bench, pairs=pairs, others=others))
    return found


def _judged(pair: Pair, p: float, bench: Bench) -> Pair:
    return replace(pair, p=p, verdict=_verdict(pair, p, bench))


def _verdict(pair: Pair, p: float, bench: Bench) -> str:
    if not pair.used:
        return "no item in common has a value" if pair.shared else "no items in common"
    found, one = pair.difference, pair.difference.estimate
    if not bench.share:  # values that are no shares are told as they are, not in points
        hundredth = replace(one, value=one.value / 100, low=one.low / 100, high=one.high / 100)
        found = replace(found, estimate=hundredth)
    words = statistics.verdict(found, pair.arm, pair.base, p=p, lower_is_better=bench.lower_is_better)
    if p > 1 - one.level >= found.p and (one.low > 0 or one.high < 0):
        words += "; alone it would show one, among so many comparisons it does not"
    return words if bench.share else words.replace(" points", "")
