"""What an lm-eval results file publishes, once more from the samples: means, standard errors, groups of tasks."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from caravan.eval.comparing.reading import mapping, number, plain, whole
from caravan.eval.comparing.runs import Figure, Table, checked, sample_stderr

Scores = np.ndarray[Any, np.dtype[np.float64]]


def task_figures(task: str, tables: Sequence[Table], told: Mapping[str, Any]) -> Iterator[Figure]:
    """Each metric of a task and its standard error; refused where the samples are of other filters alone."""
    published = mapping(mapping(told.get("results")).get(task))
    seen = set()
    for table in tables:
        values = table.frame["score"].drop_nulls().to_numpy()
        refused = _cut(table, told) or _no_mean(table, told)
        for part, recomputed in (("", float(values.mean())), ("_stderr", sample_stderr(values))):
            key = _key(published, table, part)
            if key is not None:
                seen.add(key)
                yield checked(f"{task} {key}", number(published[key]), recomputed, refused)

    for key, value in published.items():
        if key not in seen and "," in key and number(value) is not None:
            yield checked(f"{task} {plain(key)}", number(value), None, "no samples of it are here")


def group_figures(tables: Sequence[Table], told: Mapping[str, Any]) -> Iterator[Figure]:
    """Each metric of a group of tasks, by size or not, and its standard error, pooled within the tasks."""
    from caravan.eval.comparing.lm_eval_logs import leaves_of

    groups = mapping(told.get("group_subtasks"))
    members = {group: [str(one) for one in own] for group, own in groups.items() if isinstance(own, list) and own}
    for group in members:
        published = mapping(mapping(told.get("results")).get(group))
        leaves = leaves_of(group, members)
        own = [table for table in tables if table.benchmark in leaves]
        for variant, metric in dict.fromkeys((table.variant, table.metric) for table in own):
            parts = [table for table in own if (table.variant, table.metric) == (variant, metric)]
            yield from _group(plain(group), parts, len(leaves), published, told)


def _group(
    group: str, parts: Sequence[Table], leaves: int, published: Mapping[str, Any], told: Mapping[str, Any]
) -> Iterator[Figure]:
    scores = [table.frame["score"].drop_nulls().to_numpy() for table in parts]
    missing = f"samples of {len(parts)} of its {leaves} tasks are here" if len(parts) < leaves else ""
    refused = missing or next((why for table in parts if (why := _cut(table, told) or _no_mean(table, told))), "")
    for part, forms in (("", _means(scores)), ("_stderr", _stderrs(scores))):
        key = _key(published, parts[0], part)
        if key is None:
            continue
        figures = [checked(f"{group} {key}", number(published[key]), form, refused) for form in forms]
        yield next((figure for figure in figures if figure.verdict == "equal"), figures[0])


def _means(scores: Sequence[Scores]) -> list[float]:
    """Over items, and over tasks: a group's configuration says which, and results do not always repeat it."""
    return [float(np.concatenate(scores).mean()), float(np.mean([own.mean() for own in scores]))]


def _stderrs(scores: Sequence[Scores]) -> list[float | None]:
    """Pooled within tasks: sqrt(sum (n-1) se^2 n / (N - tasks) / N); and sqrt(sum se^2) / tasks, over tasks."""
    errors = [sample_stderr(own) for own in scores]
    known = [error for error in errors if error is not None]
    n, k = sum(map(len, scores)), len(scores)
    if len(known) < k or n <= k:
        return [None]
    pooled = sum((len(own) - 1) * error**2 * len(own) for own, error in zip(scores, known, strict=True)) / (n - k)
    return [math.sqrt(pooled / n), math.sqrt(sum(error**2 for error in known)) / k]


def _key(published: Mapping[str, Any], table: Table, part: str) -> str | None:
    """The key of a metric: with its filter, or (older files) without."""
    names = (f"{table.metric}{part},{table.variant or 'none'}", f"{table.metric}{part}")
    return next((name for name in names if name in published), None)


def _cut(table: Table, told: Mapping[str, Any]) -> str:
    """Why the samples are not the items that the figures are of; "" where they are, or nobody says."""
    counts = mapping(mapping(told.get("n-samples")).get(table.benchmark))
    effective = whole(counts.get("effective"))
    here = len(table.frame)
    if effective is not None and effective != here:
        return f"its figures are of {effective:,} items, but the samples are of {here:,}"
    without = table.frame["score"].null_count()
    return f"items without a value that is a number: {without:,}" if without else ""


def _no_mean(table: Table, told: Mapping[str, Any]) -> str:
    """Why a metric is no mean of items; "" where it is one."""
    config = mapping(mapping(told.get("configs")).get(table.benchmark))
    metrics = config.get("metric_list")
    for one in metrics if isinstance(metrics, list) else []:
        aggregation = mapping(one).get("aggregation")
        if mapping(one).get("metric") == table.metric and aggregation not in (None, "mean", "nanmean"):
            return "the harness puts the items together otherwise than by their mean"
    return ""
