"""How often the intervals of `evaluate` hold the truth: simulations, printed as a Markdown table.

    python benchmarks/interval_coverage.py [REPEATS]

Every row draws data of which the truth is known, many times, and counts how often the 95% interval holds it. Of
1,000 repeats, 936 to 964 hold it where the interval is right (two standard errors). The seed is fixed.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from caravan.eval.statistics import (
    Estimate,
    Floats,
    across_groups,
    bootstrap,
    difference,
    holm,
    mean,
    pool_seeds,
    seeds_difference,
    two_groups,
)

Draw = np.random.Generator
Trial = Callable[[Draw], tuple[Estimate, float]]
SLOW = 4  # the bootstraps are repeated so many times less


def shown(flags: NDArray[np.bool_]) -> Floats:
    return flags.astype(np.float64)


def any_proportion(n: int) -> Trial:
    """A model of any strength: the coverage waves with p, since counts are whole."""

    def trial(draw: Draw) -> tuple[Estimate, float]:
        p = draw.uniform(0.02, 0.98)
        return mean(shown(draw.random(n) < p)), p

    return trial


def proportion(n: int, p: float) -> Trial:
    return lambda draw: (mean(shown(draw.random(n) < p)), p)


def real_values(n: int) -> Trial:
    return lambda draw: (mean(draw.beta(2, 1, n)), 2 / 3)


def stratified(strata: int, size: int, around: float, average: str = "micro") -> Trial:
    """0/1 items of tasks that differ in difficulty; the tasks stay the same in every repeat."""
    shares = np.random.default_rng(7).beta(6 * around, 6 * (1 - around), strata)
    sizes = np.full(strata, size) + np.arange(strata) % 3 * (size // 4)
    names = [f"{t}" for t in np.repeat(np.arange(strata), sizes)]
    truth = shares.mean() if average == "macro" else shares @ sizes / sizes.sum()

    def trial(draw: Draw) -> tuple[Estimate, float]:
        values = shown(draw.random(len(names)) < np.repeat(shares, sizes))
        return mean(values, strata=names, average="macro" if average == "macro" else "micro"), float(truth)

    return trial


def clustered(clusters: int, binary: bool, around: float = 0.6) -> Trial:
    """Passages with 1 to 8 questions, whose difficulty the questions share."""

    def trial(draw: Draw) -> tuple[Estimate, float]:
        names = np.repeat(np.arange(clusters), draw.integers(1, 9, clusters))
        ease = draw.beta(3 * around, 3 * (1 - around), clusters)[names]
        values = shown(draw.random(len(names)) < ease) if binary else ease + draw.normal(0, 0.2, len(names))
        return mean(values, clusters=[f"{c}" for c in names]), around

    return trial


def crossed(problems: int, languages: int) -> Trial:
    """One problem in several languages: strata that share clusters."""
    strata = [f"{t}" for t in np.tile(np.arange(languages), problems)]
    clusters = [f"{c}" for c in np.repeat(np.arange(problems), languages)]
    gain = np.linspace(-0.3, 0.3, languages)

    def trial(draw: Draw) -> tuple[Estimate, float]:
        ease = draw.uniform(0.3, 0.7, (problems, 1)) + gain
        values = shown(draw.random((problems, languages)) < ease)
        return mean(values.ravel(), strata=strata, clusters=clusters, average="macro"), 0.5

    return trial


def paired(n: int, up: float, down: float, strata: int = 1) -> Trial:
    names = [f"{i % strata}" for i in range(n)] if strata > 1 else None

    def trial(draw: Draw) -> tuple[Estimate, float]:
        u = draw.random(n)
        a = (u < up) | (u > 0.5)
        b = ((u >= up) & (u < up + down)) | (u > 0.5)
        return difference(shown(a), shown(b), strata=names).estimate, up - down

    return trial


def paired_clusters(clusters: int) -> Trial:
    """Two runs on passages: both the level and the difference belong to the passage in part."""

    def trial(draw: Draw) -> tuple[Estimate, float]:
        names = np.repeat(np.arange(clusters), draw.integers(1, 9, clusters))
        gain = draw.normal(0.03, 0.1, clusters)[names]
        a = gain + draw.normal(0, 0.2, len(names))
        return difference(a, np.zeros(len(names)), clusters=[f"{c}" for c in names]).estimate, 0.03

    return trial


def leaked(n: int) -> Trial:
    return lambda draw: (two_groups(shown(draw.random(n) < np.where(np.arange(n) % 5, 0.6, 0.8)), _fifth(n)), 0.2)


def _fifth(n: int) -> list[bool]:
    return [i % 5 == 0 for i in range(n)]


def _trainings(draw: Draw, seeds: int, ease: Floats, spread: float) -> Floats:
    noise = draw.normal(0, spread, (seeds, 1)) + draw.normal(0, 0.2, (seeds, len(ease)))
    return shown(draw.random((seeds, len(ease))) < np.clip(ease + noise, 0, 1))


def seeds(count: int, spread: float) -> Trial:
    def trial(draw: Draw) -> tuple[Estimate, float]:
        return pool_seeds(list(_trainings(draw, count, draw.uniform(0, 1, 400), spread))), 0.5

    return trial


def arms(count: int, spread: float) -> Trial:
    def trial(draw: Draw) -> tuple[Estimate, float]:
        ease = draw.uniform(0, 1, 400)
        a, b = (_trainings(draw, count, ease, spread) for _ in "ab")
        return seeds_difference(list(a), list(b)).estimate, 0.0

    return trial


def tasks(count: int) -> Trial:
    def trial(draw: Draw) -> tuple[Estimate, float]:
        ease = np.repeat(draw.beta(3, 2, count), 40)
        names = [f"{t}" for t in np.repeat(np.arange(count), 40)]
        return across_groups(shown(draw.random(len(ease)) < ease), names), 0.6

    return trial


def correlation(n: int) -> Trial:
    def trial(draw: Draw) -> tuple[Estimate, float]:
        x = draw.normal(size=n)
        y = 0.5 * x + draw.normal(0, math.sqrt(0.75), n)
        return bootstrap(lambda d: float(np.corrcoef(x[d], y[d])[0, 1]), n, resamples=500), 0.5

    return trial


def rows() -> Iterator[tuple[str, int, Trial]]:
    """What is simulated: in words, how many times less than usual, and the trial."""
    for n in (50, 164, 1000):
        yield f"Wilson, n = {n}, p anywhere from 0.02 to 0.98", 1, any_proportion(n)
    for n, p in ((50, 0.9), (164, 0.98)):
        yield f"Wilson, n = {n}, p = {p}", 1, proportion(n, p)
    yield "t, 60 values between 0 and 1", 1, real_values(60)
    yield "strata: 57 of about 20 items, near 0.6", 1, stratified(57, 20, 0.6)
    yield "strata: 57 of about 20 items, near 0.95", 1, stratified(57, 20, 0.95)
    yield "strata: 57 of about 20 items, near 0.6, macro", 1, stratified(57, 20, 0.6, "macro")
    yield "strata: 27 of about 40 items, near 0.8, macro", 1, stratified(27, 40, 0.8, "macro")
    yield "strata: 57 of 2 items, near 0.6", 1, stratified(57, 2, 0.6)
    yield "strata: 57 of 1 item, near 0.6", 1, stratified(57, 1, 0.6)
    yield "strata: 4 of about 15 items, near 0.9", 1, stratified(4, 15, 0.9)
    for g in (30, 100):
        yield f"clusters: {g}, 0/1, t", 1, clustered(g, True)
        yield f"clusters: {g}, real values, t", 1, clustered(g, False)
    yield "clusters: 100, 0/1 near 0.98", 1, clustered(100, True, 0.98)
    for g in (8, 15, 25):
        yield f"clusters: {g}, real values, wild bootstrap", SLOW, clustered(g, False)
    yield "clusters: 15, 0/1, wild bootstrap", SLOW, clustered(15, True)
    yield "clusters: 5, real values, t", 1, clustered(5, False)
    yield "clusters across strata: 60 problems in 5 languages", 1, crossed(60, 5)
    for n, up, down in ((50, 0.15, 0.1), (200, 0.1, 0.05), (200, 0.02, 0.0), (1000, 0.1, 0.08)):
        yield f"paired 0/1, n = {n}, {up:.0%} better, {down:.0%} worse", 1, paired(n, up, down)
    yield "paired 0/1 in 10 strata, n = 500, 10% better, 8% worse", 1, paired(500, 0.1, 0.08, 10)
    yield "paired 0/1 in 10 strata, n = 500, 1% better, 0.5% worse", 1, paired(500, 0.01, 0.005, 10)
    yield "paired, 40 clusters, t", 1, paired_clusters(40)
    yield "paired, 15 clusters, wild bootstrap", SLOW, paired_clusters(15)
    yield "two groups of one run, 40 and 160 items", 1, leaked(200)
    for k in (2, 3, 5):
        yield f"seeds pooled: {k} trainings, SD 3 points", 1, seeds(k, 0.03)
    yield "seeds pooled: 3 trainings, SD 0", 1, seeds(3, 0.0)
    yield "two settings of 3 trainings each, SD 3 points", 1, arms(3, 0.03)
    yield "other tasks like these: 27 tasks", 1, tasks(27)
    yield "BCa bootstrap, correlation of 60 pairs", SLOW, correlation(60)


def family_error(repeats: int, draw: Draw) -> tuple[int, int]:
    """Of families of ten comparisons where nothing differs, how many show a difference: adjusted, and as they are."""
    adjusted = plain = 0
    for _ in range(repeats):
        u = draw.random((10, 300))
        p = [difference(shown(one < 0.15), shown((one >= 0.15) & (one < 0.3))).p for one in u]
        adjusted += min(holm(p)) <= 0.05
        plain += min(p) <= 0.05
    return adjusted, plain


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    began = time.process_time()
    print(f"`python benchmarks/interval_coverage.py {repeats}`\n")
    print("| data | repeats | covered | mean width |\n|---|---|---|---|")
    for words, less, trial in rows():
        draw = np.random.default_rng(2024)
        found = [trial(draw) for _ in range(repeats // less)]
        held = sum(one.low <= truth <= one.high for one, truth in found) / len(found)
        width = sum(one.high - one.low for one, _ in found) / len(found)
        print(f"| {words} | {len(found):,} | {held:.1%} | {width:.3f} |", flush=True)
    adjusted, plain = family_error(repeats, np.random.default_rng(2024))
    print(f"\nFamilies of ten comparisons without any difference, {repeats:,} times:")
    print(f"{adjusted / repeats:.1%} show one by Holm, {plain / repeats:.1%} unadjusted.")
    print(f"{time.process_time() - began:.0f} seconds of one processor.")


if __name__ == "__main__":
    main()
