"""Clean scores: the same run on the items that did not leak into a mixture, beside the score on all."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caravan.curate.check import contamination_check
from caravan.errors import UserError
from caravan.eval import scores, statistics
from caravan.eval.benchmark import Problem
from caravan.eval.choose import Chosen
from caravan.eval.statistics import Average, Estimate
from caravan.terminal import Progress

MIXTURE = "mix.parquet"
NORMAL = 1.959963984540054  # the quantile of a 95% interval


def leaked_items(mix: str, benchmarks: Sequence[Chosen], progress: Progress) -> dict[str, set[str]]:
    """For each benchmark the ids of its items that share text with a row of the mixture.

    `mix` is a mixture's folder or file. What was measured before comes from the cache. `UserError` where it cannot be
    read.
    """
    data = mixture(mix)
    places = {chosen.name: chosen.folder for chosen in benchmarks}
    check = contamination_check(
        str(data), ",".join(f"{name}={place}" for name, place in sorted(places.items())), progress=progress
    )
    found: dict[str, set[str]] = {name: set() for name in places}
    for benchmark, item in check.matches.select("benchmark", "item").iter_rows():
        found[benchmark].add(item)
    return found


def mixture(mix: str) -> Path:
    """The file of a mixture, named by itself or by its folder; `UserError` where there is none."""
    folder = Path(mix).expanduser()
    data = folder / MIXTURE if folder.is_dir() else folder
    if not data.is_file():
        raise UserError("no mixture here", where=mix, fix="name the folder that `curate build-mix` wrote")
    return data


def clean_score(valued: Sequence[tuple[Problem, float]], leaked: set[str], average: Average) -> dict[str, Any]:
    """The headline on the items that did not leak, and how it differs, with intervals, from the score on all.

    `clean_minus_leaked` says how much easier the leaked items were for this model, be it because it saw them or
    because they are easier for any: only a model that did not see them can tell.
    """
    kept = np.array([problem.item.id not in leaked for problem, _ in valued], dtype=bool)
    told: dict[str, Any] = {"leaked": int((~kept).sum())}
    if not kept.any():
        return told | {"why_not": "every item leaked, or none has a value"}
    told |= scores.flat(scores.estimate([one for one, keep in zip(valued, kept, strict=True) if keep], average))
    if not kept.all():
        clusters = scores.clusters_of([p for p, _ in valued])
        gap = statistics.two_groups([v for _, v in valued], list(kept), clusters=clusters)
        told["clean_minus_leaked"] = scores.flat(gap)
        told["clean_minus_all"] = scores.flat(_shift(valued, kept, average))
    return told


def _shift(valued: Sequence[tuple[Problem, float]], kept: NDArray[np.bool_], average: Average) -> Estimate:
    """The clean score minus the score on all: a weighted sum of the items' values, so its variance is one too.

    Each item's residual is taken from the mean of its own cell (group, leaked or not), and residuals are summed within
    clusters before they are squared (Miller, 2024, arXiv 2411.00640, with weights).
    """
    values = np.array([v for _, v in valued])
    groups = np.unique([p.item.group for p, _ in valued], return_inverse=True)[1]
    weights = _weights(groups, kept, average) - _weights(groups, np.ones_like(kept), average)
    cell = groups * 2 + kept
    sizes = np.bincount(cell, minlength=cell.max() + 1)
    means = np.bincount(cell, values, minlength=len(sizes)) / np.maximum(sizes, 1)
    names = scores.clusters_of([p for p, _ in valued]) or [p.item.id for p, _ in valued]
    clusters = np.unique(names, return_inverse=True)[1]
    sums = np.bincount(clusters, weights * (values - means[cell]))
    shift = float(weights @ values)
    stderr = math.sqrt(float(sums @ sums) * len(sums) / max(len(sums) - 1, 1))
    low, high = shift - NORMAL * stderr, shift + NORMAL * stderr
    return Estimate(shift, stderr, low, high, len(values), "weighted sum over items, normal interval", len(sums))


def _weights(groups: NDArray[np.int64], chosen: NDArray[np.bool_], average: Average) -> NDArray[np.float64]:
    """What each item weighs in the mean over the chosen items, or over the groups that have any of these."""
    if average == "micro":
        return np.asarray(chosen / chosen.sum())
    sizes = np.bincount(groups, chosen)
    return np.where(chosen, 1 / np.maximum(sizes[groups], 1) / (sizes > 0).sum(), 0.0)
