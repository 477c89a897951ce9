"""How sure a score is: equal to the reference packages, counted by hand, and honest at the edges."""

import math
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from caravan.eval.statistics import (
    Average,
    Difference,
    Estimate,
    across_groups,
    benjamini_hochberg,
    bootstrap,
    clopper_pearson,
    difference,
    discordant_deviation,
    holm,
    items_needed,
    mean,
    paired_deviation,
    pool_seeds,
    seeds_difference,
    smallest_effect,
    two_groups,
    unpaired,
    verdict,
    wilson,
)
from caravan.eval.statistics.intervals import stratified_score, tango

Floats = NDArray[np.float64]


def near(expected: Any) -> Any:
    return pytest.approx(expected, rel=1e-9, abs=1e-9)


def made(seed: int, n: int) -> Floats:
    return np.random.default_rng(seed).beta(2, 1, n)


def flags(seed: int, n: int, p: float = 0.6) -> Floats:
    return (np.random.default_rng(seed).random(n) < p).astype(np.float64)


def names(numbers: NDArray[Any]) -> list[str]:
    return [f"{number}" for number in numbers]


def bounds(found: Estimate) -> tuple[float, float, float, float]:
    return found.value, found.stderr, found.low, found.high


# equal to reference packages


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.9, 0.95]))
def test_intervals_of_a_proportion_equal_the_reference(counts: tuple[int, int], level: float) -> None:
    k, n = counts
    for ours, name in ((wilson, "wilson"), (clopper_pearson, "beta")):
        theirs = proportion_confint(k, n, alpha=1 - level, method=name)
        # the reference says NaN where a bound is 0 or 1 by definition
        expected = [0.0 if k == 0 else theirs[0], 1.0 if k == n else theirs[1]]
        assert ours(k, n, level) == near(expected)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_adjusted_p_values_equal_the_reference(p: list[float]) -> None:
    assert holm(p) == near(multipletests(p, method="holm")[1])
    assert benjamini_hochberg(p) == near(multipletests(p, method="fdr_bh")[1])


@pytest.mark.parametrize("n", [2, 9, 80])
def test_the_plain_mean_equals_scipys_t_interval(n: int) -> None:
    values = made(1, n)
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert bounds(mean(values)) == near((values.mean(), stats.sem(values), interval.low, interval.high))


@pytest.mark.parametrize("binary", [False, True])
def test_clusters_equal_a_regression_with_cluster_covariance(binary: bool) -> None:
    cluster = np.random.default_rng(2).integers(0, 45, 300)
    values = flags(3, 300) if binary else made(3, 300)
    fit = sm.OLS(values, np.ones(300)).fit(cov_type="cluster", cov_kwds={"groups": cluster}, use_t=True)
    found = mean(values, clusters=names(cluster))
    assert bounds(found) == near((fit.params[0], fit.bse[0], *fit.conf_int()[0]))
    assert (found.n, found.clusters) == (300, 45)
    assert found.method == "t interval, 45 clusters"


def test_a_paired_difference_equals_the_same_regression_and_its_p_value() -> None:
    cluster = np.random.default_rng(4).integers(0, 50, 400)
    a, b = made(5, 400), made(6, 400)
    fit = sm.OLS(a - b, np.ones(400)).fit(cov_type="cluster", cov_kwds={"groups": cluster}, use_t=True)
    found = difference(a, b, clusters=names(cluster))
    assert bounds(found.estimate) == near((fit.params[0], fit.bse[0], *fit.conf_int()[0]))
    assert found.p == near(fit.pvalues[0])
    plain = stats.ttest_rel(a, b)
    assert difference(a, b).p == near(plain.pvalue)


def test_two_groups_equal_welch_and_newcombe() -> None:
    values, chosen = made(7, 120), flags(8, 120, 0.3) == 1
    welch = stats.ttest_ind(values[chosen], values[~chosen], equal_var=False)
    interval = welch.confidence_interval(0.95)
    found = two_groups(values, list(chosen))
    assert (found.low, found.high) == near((interval.low, interval.high))
    assert found.stderr == near(found.value / welch.statistic)

    right = flags(9, 120)
    k = [right[chosen].sum(), right[~chosen].sum()]
    theirs = confint_proportions_2indep(k[0], chosen.sum(), k[1], (~chosen).sum(), method="newcomb")
    ours = two_groups(right, list(chosen))
    assert (ours.low, ours.high) == near(theirs)
    assert bounds(unpaired(mean(right[chosen]), mean(right[~chosen])))[2:] == near(theirs)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60))
@settings(deadline=None)
def test_mcnemar_equals_the_reference(pairs: list[tuple[bool, bool]]) -> None:
    a, b = [float(x) for x, _ in pairs], [float(y) for _, y in pairs]
    table = [[pairs.count((x, y)) for y in (True, False)] for x in (True, False)]
    found = difference(a, b)
    assert (found.a_only, found.b_only) == (table[0][1], table[1][0])
    if found.a_only + found.b_only:
        assert found.p == near(mcnemar(table, exact=True).pvalue)
    else:
        assert found.p == 1


def likeliest_score(ups: int, downs: int, n: int, delta: float) -> float:
    """Tango's statistic, its constrained estimate found by search instead of by formula."""

    def lost(q: float) -> float:
        up, same = q + delta, 1 - 2 * q - delta
        terms = ((ups, up), (downs, q), (n - ups - downs, same))
        return -sum(count * math.log(max(share, 1e-300)) for count, share in terms if count)

    low, high = max(0.0, -delta), (1 - delta) / 2
    q = optimize.minimize_scalar(lost, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    return (ups - downs - n * delta) / math.sqrt(n * (2 * q + delta - delta**2))


@pytest.mark.parametrize(("ups", "downs", "n"), [(12, 2, 50), (9, 9, 40), (1, 7, 30), (30, 11, 200)])
def test_tango_is_where_the_score_is_the_quantile(ups: int, downs: int, n: int) -> None:
    low, high = tango(ups, downs, n)
    assert likeliest_score(ups, downs, n, low) == pytest.approx(1.959963985, abs=1e-5)
    assert likeliest_score(ups, downs, n, high) == pytest.approx(-1.959963985, abs=1e-5)


def test_bca_equals_scipys() -> None:
    values = made(10, 60)

    def spread(drawn: NDArray[np.int64]) -> float:
        return float(np.std(values[drawn]))

    ours = bootstrap(spread, 60, resamples=20_000)
    theirs = stats.bootstrap((values,), np.std, n_resamples=20_000, method="BCa", rng=np.random.default_rng(1))
    assert ours.stderr == pytest.approx(theirs.standard_error, rel=0.03)
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.003)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.003)


# by hand


def test_strata_by_hand() -> None:
    values = [1.0, 2.0, 3.0, 10.0, 14.0]  # variances 1 and 8
    strata = ["a", "a", "a", "b", "b"]
    micro, macro = mean(values, strata=strata), mean(values, strata=strata, average="macro")
    assert (micro.value, macro.value) == pytest.approx((6.0, 7.0))
    assert micro.stderr == pytest.approx(math.sqrt(0.6**2 * 1 / 3 + 0.4**2 * 8 / 2))
    assert macro.stderr == pytest.approx(math.sqrt(1 / 3 + 8 / 2) / 2)
    assert macro.method == "t interval, 2 strata"


def test_tasks_are_fixed_or_drawn() -> None:
    values = np.concatenate([flags(i, 40, p) for i, p in enumerate([0.2, 0.5, 0.9, 0.95])])
    tasks = names(np.repeat(np.arange(4), 40))
    here, elsewhere = mean(values, strata=tasks, average="macro"), across_groups(values, tasks)
    means = values.reshape(4, 40).mean(1)
    assert here.value == pytest.approx(elsewhere.value)
    assert elsewhere.stderr == pytest.approx(means.std(ddof=1) / 2)
    assert elsewhere.high - elsewhere.value == pytest.approx(stats.t.ppf(0.975, 3) * elsewhere.stderr)
    assert elsewhere.stderr > 4 * here.stderr
    assert math.isnan(across_groups(values, ["one"] * 160).stderr)


def test_the_table_of_items_needed() -> None:
    wanted = {
        0.01: (7_842, 15_690, 23_539),
        0.02: (1_955, 3_917, 5_879),
        0.03: (865, 1_737, 2_609),
        0.05: (307, 621, 935),
    }
    for delta, row in wanted.items():
        found = tuple(items_needed(delta, discordant_deviation(share, delta)) for share in (0.1, 0.2, 0.3))
        assert found == row
        assert items_needed(-delta, discordant_deviation(0.1, -delta)) == row[0]
    assert items_needed(0.01, math.sqrt(0.5)) == 39_245  # two runs at one half, not paired


def test_the_table_of_smallest_effects() -> None:
    points = {
        14_042: 1.1,
        7_000: 1.5,
        6_511: 1.6,
        1_080: 3.8,
        1_319: 3.45,
        200: 8.9,
        900: 4.2,
        805: 4.4,
        332: 6.9,
        164: 9.8,
    }
    for n, wanted in points.items():
        assert 100 * smallest_effect(n, discordant_deviation(0.2)) == pytest.approx(wanted, abs=0.051)


def test_drawn_answers_add_their_own_spread() -> None:
    assert paired_deviation(0.3) == pytest.approx(0.3)
    assert paired_deviation(0.3, sigma_a=0.4, samples_a=4, sigma_b=0.6, samples_b=9) == pytest.approx(
        math.sqrt(0.09 + 0.04 + 0.04)
    )
    # more samples of an item never need more items
    counts = [items_needed(0.02, paired_deviation(0.3, sigma_a=0.4, samples_a=k)) for k in (1, 2, 4, 8)]
    assert counts == sorted(counts, reverse=True)


@given(st.integers(2, 10**6), st.floats(0.01, 1), st.sampled_from([0.5, 0.8, 0.95]))
def test_items_and_effect_are_each_others_inverse(n: int, deviation: float, power: float) -> None:
    assert items_needed(smallest_effect(n, deviation, power=power), deviation, power=power) in (n, n + 1)


# honest at the edges


@pytest.mark.parametrize("right", [1.0, 0.0])
def test_all_right_is_not_certain(right: float) -> None:
    plain = mean([right] * 164)
    inner = plain.low if right else 1 - plain.high
    assert (plain.value, plain.stderr) == (right, 0)
    assert inner == pytest.approx(0.97711, abs=1e-5)
    tasks = mean([right] * 160, strata=["a"] * 60 + ["b"] * 100)
    assert (tasks.low if right else 1 - tasks.high) == pytest.approx(0.9765, abs=2e-3)
    clusters = mean([right] * 160, clusters=names(np.arange(160) // 4))
    assert (clusters.low if right else 1 - clusters.high) == pytest.approx(wilson(40, 40)[0])
    assert "taken to agree" in clusters.method


def test_opposite_strata_without_spread_are_not_certain() -> None:
    found = mean([1.0] * 50 + [0.0] * 50, strata=["a"] * 50 + ["b"] * 50)
    assert found.stderr == 0
    # either stratum may hide a failure or a success: half of Wilson's doubt of 50 of 50
    assert found.value - found.low == pytest.approx((1 - wilson(50, 50)[0]) / 2, abs=0.004)
    assert found.high - found.value == pytest.approx(found.value - found.low, abs=1e-9)


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 12)), min_size=2, max_size=8))
def test_the_stratified_score_interval_holds_the_value_and_mirrors(parts: list[tuple[int, int]]) -> None:
    sizes = np.array([float(k + n) for k, n in parts])
    shares = np.array([k / (k + n) for k, n in parts])
    weights = sizes / sizes.sum()
    low, high = stratified_score(shares, sizes, weights)
    assert 0 <= low <= float(weights @ shares) + 1e-12
    assert float(weights @ shares) - 1e-12 <= high <= 1
    assert high > low
    assert stratified_score(1 - shares, sizes, weights) == pytest.approx((1 - high, 1 - low), abs=1e-9)


def test_many_large_strata_of_one_difficulty_are_as_one() -> None:
    values = np.tile(flags(11, 200, 0.7), 5)
    found = mean(values, strata=names(np.repeat(np.arange(5), 200)))
    assert (found.low, found.high) == pytest.approx(wilson(values.sum(), 1000), abs=3e-4)


def test_identical_runs_are_not_proven_equal() -> None:
    right = flags(12, 100)
    layouts: list[dict[str, Any]] = [
        {},
        {"strata": names(np.arange(100) % 3)},
        {"clusters": names(np.arange(100) // 2)},
    ]
    for layout in layouts:
        found = difference(right, right, **layout)
        assert (found.estimate.value, found.p, found.needed) == (0, 1, None)
        assert found.estimate.low < -0.02
        assert found.estimate.high > 0.02
        assert verdict(found).startswith("no evidence of a difference (")
    assert difference(right, right).estimate.high == pytest.approx(wilson(0, 100)[1], abs=1e-3)


def test_a_wholly_better_run() -> None:
    found = difference([1.0] * 20, [0.0] * 20)
    assert found.estimate.value == 1
    assert found.estimate.high == 1
    assert 0.6 < found.estimate.low < 0.9
    assert found.p == pytest.approx(2 * 0.5**20)
    mirrored = difference([0.0] * 20, [1.0] * 20).estimate
    assert (mirrored.low, mirrored.high) == pytest.approx((-1, -found.estimate.low))


def test_few_items_say_nothing() -> None:
    for found in (mean([]), mean([0.5]), difference([], []).estimate, difference([1.0], [0.0]).estimate):
        assert math.isnan(found.stderr)
        assert math.isnan(found.low)
    assert math.isnan(mean([]).value)
    assert mean([0.5]).value == 0.5
    assert "too few" in verdict(difference([1.0], [0.0]))
    one_cluster = mean([0.1, 0.5, 0.3], clusters=["p"] * 3)
    assert math.isnan(one_cluster.low)
    assert "one cluster" in one_cluster.method
    assert math.isnan(two_groups([1.0, 0.0, 1.0], [True, True, True]).value)
    assert math.isnan(two_groups([1.0, 0.2, 0.7], [True, False, False]).low)


def test_strata_of_one_item_are_taken_together() -> None:
    values = made(13, 60)
    alone = mean(values, strata=names(np.arange(60)))
    assert alone.stderr == pytest.approx(mean(values).stderr)
    assert "60 strata" in alone.method
    # a single one goes with the smallest other
    strata = ["big"] * 40 + ["small"] * 19 + ["lone"]
    merged = mean(values, strata=["big"] * 40 + ["small"] * 20)
    assert mean(values, strata=strata).stderr == pytest.approx(merged.stderr)
    # and 0/1 values in strata of one item are as if there were none
    right = flags(14, 80)
    found = mean(right, strata=names(np.arange(80)))
    assert (found.low, found.high) == near(wilson(right.sum(), 80))


# clusters


def test_copies_of_items_in_clusters_add_nothing() -> None:
    values = made(15, 60)
    thrice = np.repeat(values, 3)
    found = mean(thrice, clusters=names(np.repeat(np.arange(60), 3)))
    assert bounds(found) == near(bounds(mean(values)))
    assert mean(thrice).stderr < 0.6 * found.stderr


def test_clusters_of_one_item_are_no_clusters() -> None:
    right = flags(16, 70)
    assert mean(right, clusters=names(np.arange(70))) == mean(right)
    assert difference(right, right[::-1], clusters=names(np.arange(70))) == difference(right, right[::-1])


def test_strata_and_clusters_together_by_hand() -> None:
    values, cluster = made(17, 200), np.random.default_rng(18).integers(0, 50, 200)
    stratum = cluster % 2  # clusters lie within strata
    found = mean(values, strata=names(stratum), clusters=names(cluster))
    expected = 0.0
    for number in (0, 1):
        own = stratum == number
        part = mean(values[own], clusters=names(cluster[own]))
        expected += (own.mean() * part.stderr) ** 2
    assert found.stderr == near(math.sqrt(expected))


def test_one_problem_in_several_languages() -> None:
    """Strata that share all clusters: the macro mean is a mean of problems, so its error is theirs."""
    table = made(19, 40)[:, None] + np.array([0.0, 0.1, -0.3])
    found = mean(
        table.ravel(),
        strata=names(np.tile(np.arange(3), 40)),
        clusters=names(np.repeat(np.arange(40), 3)),
        average="macro",
    )
    plain = mean(table.mean(1))
    assert bounds(found) == near(bounds(plain))


def test_few_clusters_get_the_wild_bootstrap_and_say_so() -> None:
    cluster = np.repeat(np.arange(12), np.arange(1, 13))
    values = made(20, len(cluster)) + np.random.default_rng(21).normal(0, 0.2, 12)[cluster]
    found = mean(values, clusters=names(cluster))
    assert "wild cluster bootstrap" in found.method
    assert "only 12 clusters" in found.method
    assert found.low < found.value < found.high
    assert found == mean(values, clusters=names(cluster))
    # the interval holds what the test does not reject
    for shift, rejected in ((0.0, False), (found.low - 1e-3, True), (found.high + 1e-3, True)):
        tested = difference(values, np.full(len(cluster), shift or found.value), clusters=names(cluster))
        assert (tested.p < 0.05) == rejected


def test_the_wild_bootstrap_of_equal_clusters_is_near_t() -> None:
    means = np.random.default_rng(22).normal(0, 1, 20)
    found = mean(np.repeat(means, 2), clusters=names(np.repeat(np.arange(20), 2)))
    exact = stats.ttest_1samp(means, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=0.08)


def test_five_clusters_are_hardly_to_be_trusted() -> None:
    found = mean(made(23, 50), clusters=names(np.arange(50) % 5))
    assert found.method == "t interval, hardly to be trusted: only 5 clusters"
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, 4) * found.stderr)


def test_two_groups_that_share_clusters_are_compared_within() -> None:
    ease = np.repeat(made(24, 60), 2)
    chosen = [True, False] * 60
    values = ease + np.where(chosen, 0.1, 0.0) + np.random.default_rng(25).normal(0, 0.02, 120)
    loose, tight = two_groups(values, chosen), two_groups(values, chosen, clusters=names(np.repeat(np.arange(60), 2)))
    assert tight.value == pytest.approx(loose.value)
    assert tight.stderr < loose.stderr / 5
    paired = difference(values[::2], values[1::2]).estimate
    assert tight.stderr == near(paired.stderr)


# paired runs


def test_pairs_see_what_two_intervals_do_not() -> None:
    ease = np.random.default_rng(26).random(500)
    u = np.random.default_rng(27).random(500)
    a, b = (u < ease + 0.05).astype(np.float64), (u < ease).astype(np.float64)
    found = difference(a, b)
    assert found.p < 0.05
    assert verdict(found, "new", "old").startswith("new is better by ")
    apart = unpaired(mean(a), mean(b))
    assert apart.low < 0 < apart.high
    assert apart.value == pytest.approx(found.estimate.value)


values01 = st.lists(
    st.tuples(st.booleans(), st.booleans(), st.integers(0, 3), st.integers(0, 9)), min_size=2, max_size=50
)


@settings(deadline=None, max_examples=60)
@given(values01, st.booleans(), st.booleans(), st.sampled_from(["micro", "macro"]))
def test_b_minus_a_is_a_minus_b_turned_round(rows: Any, strata: bool, clusters: bool, average: Any) -> None:
    a, b = [float(row[0]) for row in rows], [float(row[1]) for row in rows]
    layout: dict[str, Any] = {
        "strata": [f"{row[2]}" for row in rows] if strata else None,
        "clusters": [f"{row[3]}" for row in rows] if clusters else None,
        "average": average,
    }
    one, two = difference(a, b, **layout), difference(b, a, **layout)
    assert one.estimate.value == pytest.approx(-two.estimate.value, abs=1e-12)
    assert (one.estimate.low, one.estimate.high) == pytest.approx(
        (-two.estimate.high, -two.estimate.low), abs=1e-6, nan_ok=True
    )
    assert one.p == pytest.approx(two.p, abs=1e-12, nan_ok=True)
    assert one.needed == two.needed
    if not math.isnan(one.estimate.low):
        assert one.estimate.low - 1e-9 <= one.estimate.value <= one.estimate.high + 1e-9
        assert one.estimate.low < one.estimate.high


@settings(deadline=None, max_examples=60)
@given(values01, st.booleans(), st.booleans(), st.sampled_from(["micro", "macro"]), st.randoms())
def test_the_order_of_items_does_not_matter(
    rows: Any, strata: bool, clusters: bool, average: Any, shuffle: Any
) -> None:
    def found(of: Any) -> Estimate:
        return mean(
            [float(row[0]) for row in of],
            strata=[f"{row[2]}" for row in of] if strata else None,
            clusters=[f"{row[3]}" for row in of] if clusters else None,
            average=average,
        )

    other = list(rows)
    shuffle.shuffle(other)
    one, two = found(rows), found(other)
    assert bounds(one) == pytest.approx(bounds(two), abs=1e-6, nan_ok=True)
    if not math.isnan(one.low):
        assert -1e-9 <= one.low <= one.value + 1e-9
        assert one.value - 1e-9 <= one.high <= 1 + 1e-9
        assert one.low < one.high


def test_a_macro_difference_is_tested_as_it_is_averaged() -> None:
    """Better in the small task, a little worse in the large one: macro and micro differ, and so do their tests."""
    a = np.concatenate([np.ones(40), flags(28, 1000, 0.5)])
    b = np.concatenate([np.zeros(40), np.minimum(flags(28, 1000, 0.5) + flags(29, 1000, 0.15), 1)])
    tasks = ["small"] * 40 + ["large"] * 1000
    micro, macro = (difference(a, b, strata=tasks, average=average) for average in get_args(Average))
    assert micro.estimate.value < 0 < macro.estimate.value
    assert macro.p < 1e-6
    assert macro.estimate.low > 0
    assert micro.p == pytest.approx(mcnemar([[0, micro.a_only], [micro.b_only, 0]], exact=True).pvalue)


def test_discordant_clusters_vote_where_they_are_few() -> None:
    a, b = np.ones(400), np.ones(400)
    b[:12] = 0  # three clusters of four items, all better in A
    found = difference(a, b, clusters=names(np.arange(400) // 4))
    assert found.a_only == 12
    assert found.p == pytest.approx(0.25)  # 2 * 0.5 ** 3: three clusters prove nothing
    assert difference(a, b).p < 0.001
    assert found.estimate.low < difference(a, b).estimate.low


def test_values_that_are_no_shares() -> None:
    found = difference([0.5, 0.7, 0.9, 0.4], [0.4, 0.6, 0.8, 0.3])
    assert (found.a_only, found.b_only) == (4, 0)
    assert found.estimate.value == pytest.approx(0.1)
    constant = difference([1.5] * 5, [1.0] * 5)
    assert constant.p == 0
    assert "no spread" in constant.estimate.method
    assert constant.needed is None


# verdicts


def told(value: float, half: float, p: float, needed: int | None, n: int = 500) -> Difference:
    return Difference(Estimate(value, half / 2, value - half, value + half, n, "by hand"), 1, 1, p, needed)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (told(0.021, 0.017, 0.01, 700), "A is better by 2.1 points (0.4 to 3.8)"),
        (told(-0.021, 0.017, 0.01, 700), "B is better by 2.1 points (0.4 to 3.8)"),
        (
            told(0.008, 0.02, 0.4, 3_417),
            "no evidence of a difference (-1.2 to +2.8 points); you would need about 3,400 items",
        ),
        (told(0.0, 0.02, 1.0, None), "no evidence of a difference (-2.0 to +2.0 points)"),
        (
            told(0.02, 0.019, 0.06, 620),  # the interval says yes, the exact test does not
            "no evidence of a difference (+0.1 to +3.9 points); you would need about 620 items",
        ),
    ],
)
def test_verdicts(found: Difference, words: str) -> None:
    assert verdict(found) == words


def test_a_verdict_of_a_family_and_of_a_rate_that_should_be_low() -> None:
    found = told(0.021, 0.017, 0.01, 700)
    assert verdict(found, p=0.09).startswith("no evidence of a difference")
    assert verdict(found, "base", "tuned", lower_is_better=True) == "tuned is better by 2.1 points (0.4 to 3.8)"
    assert verdict(told(0.02, 0.01, 0.0001, 90), p=0.06) == "no evidence of a difference (+1.0 to +3.0 points)"


# families


def test_families_with_tests_that_could_not_be_made() -> None:
    assert holm([0.01, math.nan, 0.04]) == pytest.approx([0.02, math.nan, 0.04], nan_ok=True)
    assert benjamini_hochberg([math.nan]) == pytest.approx([math.nan], nan_ok=True)
    assert holm([]) == []
    with pytest.raises(ValueError, match="p-values"):
        holm([1.2])


# seeds


def trained(seed: int, seeds: int, spread: float, n: int = 600) -> list[Floats]:
    draw = np.random.default_rng(seed)
    ease = np.random.default_rng(99).uniform(0, 1, n)
    return [(draw.random(n) < np.clip(ease + draw.normal(0, spread), 0, 1)).astype(np.float64) for _ in range(seeds)]


def test_pooled_seeds_equal_the_two_way_table() -> None:
    table = np.array(trained(30, 4, 0.05))
    k, n = table.shape
    middle = table.mean()
    items, seeds = table.mean(0), table.mean(1)
    rest = table - items - seeds[:, None] + middle
    squares = [
        k * ((items - middle) ** 2).sum() / (n - 1),
        n * ((seeds - middle) ** 2).sum() / (k - 1),
        (rest**2).sum() / ((n - 1) * (k - 1)),
    ]
    found = pool_seeds(list(table))
    assert found.value == pytest.approx(middle)
    assert found.stderr == near(math.sqrt((squares[0] + squares[1] - squares[2]) / (n * k)))
    assert found.n == n
    assert "4 training seeds" in found.method


def test_one_seed_covers_items_only_and_says_so() -> None:
    table = trained(31, 1, 0.0)
    found = pool_seeds(table)
    assert "items only" in found.method
    assert bounds(found) == bounds(mean(table[0]))
    assert "items only" in seeds_difference(table, trained(32, 1, 0.0)).estimate.method


def test_seeds_that_differ_widen_and_equal_seeds_do_not_narrow() -> None:
    table = trained(33, 3, 0.1)
    items_only = mean(np.mean(table, axis=0))
    assert pool_seeds(table).stderr > 1.5 * items_only.stderr
    same = [table[0]] * 3
    assert pool_seeds(same).stderr == pytest.approx(mean(table[0]).stderr)
    assert pool_seeds([[1.0] * 164] * 2).low == pytest.approx(wilson(164, 164)[0])


def test_two_settings_with_seeds() -> None:
    a, b = trained(34, 3, 0.06), trained(35, 3, 0.06)
    found = seeds_difference(a, b)
    turned = seeds_difference(b, a)
    naive = difference(np.mean(a, axis=0), np.mean(b, axis=0))
    assert found.estimate.value == pytest.approx(naive.estimate.value)
    assert found.estimate.stderr > 1.5 * naive.estimate.stderr
    assert found.p > naive.p
    assert (turned.p, turned.needed, turned.estimate.low) == pytest.approx(
        (found.p, found.needed, -found.estimate.high), nan_ok=True
    )
    mixed = seeds_difference(a, b[:1])
    assert "the one seed of B" in mixed.estimate.method


def test_seeds_with_strata_and_clusters() -> None:
    table = trained(36, 3, 0.05)
    layout: dict[str, Any] = {"strata": names(np.arange(600) % 6), "clusters": names(np.arange(600) // 2)}
    found = pool_seeds(table, average="macro", **layout)
    assert found.clusters == 300
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(mean(np.mean(table, axis=0), average="macro", **layout).value)


# bootstrap


def test_a_bootstrap_is_the_same_every_time_and_says_what_it_lost() -> None:
    values = np.array([0.0] * 9 + [1.0])

    def ratio(drawn: NDArray[np.int64]) -> float:
        return float(values[drawn].mean() / values[drawn].max()) if values[drawn].max() else math.nan

    first, again = (bootstrap(ratio, 10, resamples=500, seed=3) for _ in range(2))
    assert first == again
    assert "not defined on 1" in first.method
    assert first.low <= first.value <= first.high
    never = bootstrap(lambda drawn: 1.0 if len(set(drawn)) == len(drawn) else math.nan, 10, resamples=50)
    assert math.isnan(never.low)
    assert "not defined on 50 of 50" in never.method
    assert math.isnan(bootstrap(lambda _: math.nan, 10, resamples=50).value)


def test_a_bootstrap_of_a_mean_is_near_its_formula() -> None:
    values = made(37, 150)
    found = bootstrap(lambda drawn: float(values[drawn].mean()), 150, resamples=4000)
    exact = mean(values)
    assert found.stderr == pytest.approx(exact.stderr, rel=0.05)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=0.008)


# input that does not fit


@pytest.mark.parametrize(
    "broken",
    [
        lambda: mean([0.5, math.nan]),
        lambda: mean([0.5, math.inf]),
        lambda: mean([1.0, 0.0], strata=["a"]),
        lambda: mean([1.0, 0.0], clusters=["a", "b", "c"]),
        lambda: mean([1.0, 0.0], level=1.0),
        lambda: difference([1.0, 0.0], [1.0]),
        lambda: unpaired(mean([1.0, 0.0]), mean([1.0, 0.0], level=0.9)),
        lambda: pool_seeds([]),
        lambda: pool_seeds([[1.0, 0.0], [1.0]]),
        lambda: wilson(3, 2),
        lambda: items_needed(0.0, 0.3),
        lambda: items_needed(0.1, 0.3, power=0.01),
        lambda: discordant_deviation(0.05, 0.1),
        lambda: smallest_effect(0, 0.3),
    ],
)
def test_what_does_not_fit_is_refused(broken: Callable[[], object]) -> None:
    with pytest.raises(ValueError):
        broken()
