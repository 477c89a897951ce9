"""From items' verdicts to scores: what `scores.json` says of each benchmark, and how sure it is."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from caravan.eval import statistics
from caravan.eval.benchmark import Askable, Problem, Rules, Status, Verdict
from caravan.eval.statistics import Average, Estimate

ERRORS: tuple[Status, ...] = ("empty", "failed", "unjudged")
EDGE = 8  # prompt tokens that are shown from either end: a doubled BOS is seen at once


def score(
    module: Askable,
    scored: Sequence[tuple[Problem, Verdict]],
    *,
    name: str,
    variant: str,
    protocol: Rules,
) -> dict[str, Any]:
    """The score of one benchmark, as a value of JSON; shares and values are 0..1.

    `score stderr low high n` are the headline's, over the items that have a value and on these groups;
    `on_other_groups` is the mean of the groups, were these drawn from many. `failures` counts the items without, and
    `bounds` says what the score would be, were all of these worth nothing, or all of them everything.
    """
    values = [(p, v) for p, v in scored if v.status not in ERRORS]
    metrics = {
        metric: estimate([(p, v.values[metric]) for p, v in values if metric in v.values], module.AVERAGE)
        for metric in module.METRICS
    }
    headline = headline_of(module, variant)
    own = [(p, v.values[headline]) for p, v in values if headline in v.values]
    missing = len(scored) - len(own)
    found: dict[str, Any] = {
        "benchmark": name,
        "variant": variant,
        "protocol": protocol,
        "metric": headline,
        "average": module.AVERAGE,
        "lower_is_better": getattr(module, "LOWER_IS_BETTER", False),
        **flat(metrics[headline]),
        "items": len(scored),
        "metrics": {metric: flat(estimate) for metric, estimate in metrics.items()},
        "micro": flat(estimate(own, "micro")),
        "macro": flat(estimate(own, "macro")),
        "on_other_groups": _on_other_groups(own),
        "groups": _pooled(own, lambda p: p.item.group),
        "failures": _failures(v.status for _, v in scored),
        "bounds": _bounds(own, [p for p, v in scored if headline not in v.values], module.AVERAGE) if missing else None,
    }
    category = getattr(module, "category", None)
    if category is not None:
        found["categories"] = _pooled(own, lambda p: category(p.item.group))
    published = getattr(module, "published", None)
    if published is not None:
        found["published_form"] = published(scored)
    return found


def headline_of(module: Askable, variant: str) -> str:
    """The metric that makes the score: the one that the variant is named after (pass@10), else the first."""
    return variant if variant in module.METRICS else module.METRICS[0]


def estimate(valued: Sequence[tuple[Problem, float]], average: Average) -> Estimate:
    """The mean with its interval: groups are strata, items that share something are clusters."""
    problems = [p for p, _ in valued]
    if not valued:
        return Estimate(math.nan, math.nan, math.nan, math.nan, 0, "no item has a value")
    strata = [p.item.group for p in problems]
    return statistics.mean(
        [v for _, v in valued],
        strata=strata if len(set(strata)) > 1 else None,
        clusters=clusters_of(problems),
        average=average if len(set(strata)) > 1 else "micro",
    )


def clusters_of(problems: Sequence[Problem]) -> list[str] | None:
    """The cluster of each item, one of its own where it shares nothing; None where no item shares anything."""
    if not any(p.cluster for p in problems):
        return None
    return [p.cluster or f"item {p.item.id}" for p in problems]


def _on_other_groups(valued: Sequence[tuple[Problem, float]]) -> dict[str, Any] | None:
    """The macro mean, with its error on other tasks, subjects or languages like these; None where there is one."""
    groups = [p.item.group for p, _ in valued]
    return flat(statistics.across_groups([v for _, v in valued], groups)) if len(set(groups)) > 1 else None


def _pooled(valued: Sequence[tuple[Problem, float]], group: Callable[[Problem], str]) -> dict[str, Any]:
    members: dict[str, list[tuple[Problem, float]]] = {}
    for problem, value in valued:
        members.setdefault(group(problem), []).append((problem, value))
    return {name: flat(estimate(members[name], "micro")) for name in sorted(members)} if len(members) > 1 else {}


def _bounds(own: Sequence[tuple[Problem, float]], others: Sequence[Problem], average: Average) -> list[float]:
    return [estimate([*own, *((p, worth) for p in others)], average).value for worth in (0.0, 1.0)]


def _failures(statuses: Iterable[Status]) -> dict[str, int]:
    counted = Counter(statuses)
    return {status: counted[status] for status in ("unextractable", *ERRORS)}


def flat(estimate: Estimate) -> dict[str, Any]:
    """An estimate as JSON has it; what is not a number is null."""
    told: Mapping[str, Any] = asdict(estimate)
    plain = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in told.items()}
    return {"score": plain.pop("value"), **plain}
