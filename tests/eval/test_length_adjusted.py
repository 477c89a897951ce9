"""Win rates from two orders, and at equal length: by hand, against statsmodels, and against known truths."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from caravan.errors import UserError
from caravan.eval.judging.length_adjusted import OVERLAP, PRECISION, LengthAdjusted, fit, length_adjusted, length_term
from caravan.eval.judging.win_rate import win_rate
from caravan.eval.scoring.alpaca_results import read_results

Floats = NDArray[np.float64]


def drawn(n: int, theta: float, phi: float, more: float, seed: int) -> tuple[Floats, Floats, Floats]:
    """Verdicts drawn by the model itself; the model's answers are exp(more) times as long in the median."""
    random = np.random.default_rng(seed)
    other = np.rint(np.exp(random.normal(6, 1, n)))
    mine = np.rint(other * np.exp(random.normal(more, 0.7, n)))
    chance = 1 / (1 + np.exp(-theta - phi * np.tanh(np.log((1 + mine) / (1 + other)))))
    return (random.random(n) < chance).astype(float), mine, other


# at equal length


def test_the_fit_is_statsmodels_with_the_priors_as_penalty() -> None:
    y, mine, other = drawn(400, -0.5, 1.5, 0.3, seed=2)
    y[::7] = 0.5
    term = length_term(mine, other)
    ((theta, phi),) = fit(y, term, np.ones((1, 400)))
    p = 1 / (1 + np.exp(-theta - phi * term))
    slope = np.stack([np.ones(400), term]) @ (y - p) - PRECISION * (theta, phi)
    assert np.abs(slope).max() < 1e-9  # the top of the penalised likelihood
    many = np.tile(np.stack([y, term]), 2000)  # so many pairs that the priors are nothing
    design = sm.add_constant(many[1])
    expected = sm.GLM(many[0], design, family=sm.families.Binomial()).fit().params
    weighted = fit(y, term, np.full((1, 400), 2000.0))
    assert weighted[0] == pytest.approx(expected, abs=2e-5)


def test_resamples_are_fitted_as_if_each_were_written_out() -> None:
    y, mine, other = drawn(60, 0.3, 1.0, 0.0, seed=3)
    term = length_term(mine, other)
    chosen = np.random.default_rng(0).integers(0, 60, (5, 60))
    counts = np.stack([np.bincount(c, minlength=60) for c in chosen]).astype(float)
    for found, own in zip(fit(y, term, counts), chosen, strict=True):
        assert found == pytest.approx(fit(y[own], term[own], np.ones((1, 60)))[0], abs=1e-9)


def test_a_judge_who_only_counts_characters_is_even_at_equal_length() -> None:
    random = np.random.default_rng(4)
    other = random.integers(100, 2000, 600).astype(float)
    mine = np.round(other * np.exp(random.normal(0.5, 0.6, 600)))
    told = length_adjusted((mine > other).astype(float), mine, other)
    assert told.raw.value > 0.75
    assert told.longer_wins is not None
    assert told.longer_wins.value == pytest.approx(1.0)
    assert told.adjusted is not None
    assert told.adjusted.low < 0.5 < told.adjusted.high
    assert told.effect is not None
    assert told.effect.low > 3


def test_a_judge_blind_to_length_is_left_as_it_is() -> None:
    y, mine, other = drawn(1500, 0.6, 0.0, 0.4, seed=5)
    told = length_adjusted(y, mine, other)
    assert told.adjusted is not None
    assert told.effect is not None
    assert told.effect.low < 0 < told.effect.high
    assert told.adjusted.low < told.raw.value < told.adjusted.high
    assert told.adjusted.stderr > told.raw.stderr  # adjusting costs some certainty


def test_the_two_sides_mirror_each_other() -> None:
    y, mine, other = drawn(300, 0.5, 1.5, 0.3, seed=6)
    one, turned = length_adjusted(y, mine, other), length_adjusted(1 - y, other, mine)
    for a, b in ((one.adjusted, turned.adjusted), (one.raw, turned.raw)):
        assert a is not None
        assert b is not None
        assert a.value == pytest.approx(1 - b.value, abs=1e-9)
    assert one.adjusted is not None
    assert turned.adjusted is not None
    assert one.adjusted.low == pytest.approx(1 - turned.adjusted.high, abs=1e-6)
    assert one.longer_wins == turned.longer_wins
    assert (one.longer, one.equal, one.overlap) == (turned.shorter, turned.equal, turned.overlap)


def test_the_unit_of_length_hardly_matters() -> None:
    y, mine, other = drawn(500, 0.5, 1.5, 0.3, seed=7)
    characters, bytes_ = length_adjusted(y, mine, other), length_adjusted(y, 3 * mine, 3 * other)
    assert characters.adjusted is not None
    assert bytes_.adjusted is not None
    assert characters.adjusted.value == pytest.approx(bytes_.adjusted.value, abs=1e-3)


def test_the_same_pairs_give_the_same_interval_and_another_seed_nearly_the_same() -> None:
    y, mine, other = drawn(300, 0.5, 1.5, 0.3, seed=8)
    groups = ["a", "b", "c"] * 100
    assert length_adjusted(y, mine, other, groups) == length_adjusted(y, mine, other, groups)
    one, two = (length_adjusted(y, mine, other, groups, seed=s).adjusted for s in (0, 1))
    assert one is not None
    assert two is not None
    assert one.value == two.value
    assert one.low == pytest.approx(two.low, abs=0.01)
    assert "by group" in one.method


def test_strata_that_differ_make_the_interval_narrower() -> None:
    random = np.random.default_rng(9)
    groups = ["easy"] * 200 + ["hard"] * 200
    y = np.array([1.0] * 195 + [0.0] * 5 + [0.0] * 195 + [1.0] * 5)
    other = random.integers(100, 1000, 400).astype(float)
    mine = np.round(other * np.exp(random.normal(0, 0.5, 400)))
    plain, by_group = length_adjusted(y, mine, other), length_adjusted(y, mine, other, groups)
    assert plain.adjusted is not None
    assert by_group.adjusted is not None
    assert by_group.adjusted.stderr < plain.adjusted.stderr / 1.8


@pytest.mark.parametrize(("share", "refused"), [(0.0, True), (0.09, True), (0.10, False), (0.5, False), (0.95, True)])
def test_lengths_that_barely_overlap_are_refused_with_the_share(share: float, refused: bool) -> None:
    other = np.full(200, 500.0)
    mine = np.where(np.arange(200) < 200 * share, 400.0, 900.0)
    told = length_adjusted(np.tile([0.0, 1.0], 100), mine, other)
    assert (told.adjusted is None, told.effect is None) == (refused, refused)
    assert told.overlap == pytest.approx(min(share, 1 - share))
    assert told.raw.value == pytest.approx(0.5)
    if refused:
        assert f"only {100 * told.overlap:.1f}% ({100 * OVERLAP:.0f}% needed)" in told.refused
    else:
        assert told.refused == ""


def test_equal_lengths_stand_on_both_sides() -> None:
    told = length_adjusted([1.0, 0.5] * 50, [700.0] * 100, [700.0] * 100)
    assert (told.longer, told.shorter, told.equal, told.overlap) == (0, 0, 1, 1)
    assert told.longer_wins is None
    assert told.adjusted is not None
    assert told.adjusted.value == pytest.approx(0.75, abs=0.01)


def test_few_pairs_are_refused() -> None:
    told = length_adjusted([1.0, 0.0] * 10, [5.0, 6.0] * 10, [6.0, 5.0] * 10)
    assert "20 pairs are too few" in told.refused
    assert told.adjusted is None
    assert told.longer_wins is not None
    assert told.longer_wins.value == pytest.approx(0.0)


@pytest.mark.parametrize("won", [0.0, 1.0])
def test_all_won_or_all_lost_stays_finite(won: float) -> None:
    told = length_adjusted([won] * 60, [5.0, 9.0] * 30, [7.0] * 60)
    assert told.adjusted is not None
    assert abs(told.adjusted.value - won) < 0.03
    assert all(math.isfinite(x) for x in (told.adjusted.low, told.adjusted.high, told.adjusted.stderr))


@pytest.mark.parametrize(
    "broken",
    [
        ([], [], []),
        ([1.0], [5.0], []),
        ([1.5], [5.0], [5.0]),
        ([math.nan], [5.0], [5.0]),
        ([1.0], [-5.0], [5.0]),
        ([1.0], [math.inf], [5.0]),
        ([1.0], [5.0], [5.0], ["a", "b"]),
    ],
)
def test_what_is_no_pair_is_refused(broken: Any) -> None:
    with pytest.raises(UserError):
        length_adjusted(*broken)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.3, 0.5, 1.0]), st.integers(0, 10_000), st.integers(0, 10_000)),
        min_size=30,
        max_size=60,
    )
)
def test_any_pairs_give_rates_between_0_and_1_in_order(pairs: list[tuple[float, int, int]]) -> None:
    told = length_adjusted(*zip(*pairs, strict=True), resamples=100)
    assert told.longer + told.shorter + told.equal == pytest.approx(1)
    assert (told.adjusted is None) == bool(told.refused)
    if told.adjusted is not None:
        assert 0 <= told.adjusted.low <= told.adjusted.high <= 1
        assert 0 < told.adjusted.value < 1


def covered(runs: int, n: int, theta: float, phi: float, more: float) -> tuple[float, float, float, float]:
    """Shares of intervals that hold the truth, of the rate and of phi, and the means of both estimates."""
    told: list[LengthAdjusted] = [
        length_adjusted(*drawn(n, theta, phi, more, seed=run), resamples=600, seed=run) for run in range(runs)
    ]
    truth = 1 / (1 + math.exp(-theta))
    rates = [t.adjusted for t in told if t.adjusted is not None]
    effects = [t.effect for t in told if t.effect is not None]
    assert len(rates) == len(effects) == runs
    return (
        float(np.mean([r.low <= truth <= r.high for r in rates])),
        float(np.mean([e.low <= phi <= e.high for e in effects])),
        float(np.mean([r.value for r in rates])),
        float(np.mean([e.value for e in effects])),
    )


def test_a_known_truth_is_found() -> None:
    rate, effect, mean_rate, mean_effect = covered(60, 300, 0.4, 1.5, 0.3)
    assert rate > 0.86  # of 60 at 95%, fewer than 52 happen once in 2,000 times
    assert effect > 0.86
    assert mean_rate == pytest.approx(1 / (1 + math.exp(-0.4)), abs=0.015)
    assert mean_effect == pytest.approx(1.5, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "theta", "phi", "more"),
    [(805, -2.0, 2.0, -0.6), (805, 1.5, 1.7, 0.7), (300, 0.4, 1.5, 0.3), (100, 0, 1, 0.5)],
)
def test_intervals_cover_95_percent(n: int, theta: float, phi: float, more: float) -> None:
    rate, effect, mean_rate, mean_effect = covered(600, n, theta, phi, more)
    assert 0.925 <= rate <= 0.975
    assert 0.925 <= effect <= 0.975
    assert mean_rate == pytest.approx(1 / (1 + math.exp(-theta)), abs=0.01)
    assert mean_effect == pytest.approx(phi, abs=0.1)


# the real files


@pytest.mark.real
@pytest.mark.parametrize(
    ("model", "annotator", "adjusted", "stderr", "overlap"),
    [
        ("gpt-3.5-turbo-0301", "alpaca_eval_gpt4", 0.742, 0.027, 0.102),
        ("text_davinci_001", "alpaca_eval_gpt4", 0.190, 0.017, 0.277),
        ("FuseChat-Llama-3.2-3B-Instruct", "weighted_alpaca_eval_gpt4_turbo", 0.542, 0.015, 0.410),
        ("tulu-2-dpo-7b", "alpaca_eval_gpt4", None, None, 0.019),
        ("alpaca-7b", "weighted_alpaca_eval_gpt4_turbo", None, None, 0.027),
    ],
)
def test_published_pairs(
    real_data: Path, model: str, annotator: str, adjusted: float | None, stderr: float | None, overlap: float
) -> None:
    found = read_results(real_data / f"benchmarks/alpaca_eval/results/{model}/{annotator}/annotations.json", None)
    assert found is not None
    pairs = [
        (r.answers[0].judged, len(r.answers[0].text), len(r.problem.more["reference"]), r.problem.item.group)
        for r in found[0]
        if r.answers[0].judged is not None
    ]
    told = length_adjusted(*zip(*pairs, strict=True))
    assert told.overlap == pytest.approx(overlap, abs=5e-4)
    assert told.longer_wins is not None
    assert told.longer_wins.low > 0.55  # judges like the longer answer
    if adjusted is None or stderr is None:
        assert "lengths barely overlap" in told.refused
    else:
        assert told.adjusted is not None
        assert told.adjusted.value == pytest.approx(adjusted, abs=1e-3)
        assert told.adjusted.stderr == pytest.approx(stderr, abs=2e-3)


# both orders


def test_both_orders_by_hand() -> None:
    first = [1.0, 1.0, 0.0, 1.0, 0.5, None, 0.0, None]
    second = [1.0, 0.0, 0.0, 0.5, 0.5, 1.0, 1.0, None]
    told = win_rate(first, second)
    assert told.rate is not None
    assert told.flips is not None
    assert told.position is not None
    assert told.rate.value == pytest.approx((1 + 0.5 + 0 + 0.75 + 0.5 + 0.5) / 6)
    assert told.flips.value == pytest.approx(3 / 6)  # won and lost, won and drawn, lost and won
    assert told.reversed_ == 2
    assert told.position.value == pytest.approx((0.5 + 1 + 0.5 + 0.75 + 0.5 + 0) / 6 - 0.5)
    assert (told.n, told.incomplete, told.unparsed) == (8, 2, 3)
    assert list(told.bounds) == pytest.approx([7.5 / 16, 10.5 / 16])


def test_a_judge_who_likes_the_first_answer_shows() -> None:
    told = win_rate([1.0] * 60, [0.0] * 60, ["a", "b"] * 30)
    assert told.rate is not None
    assert told.position is not None
    assert told.flips is not None
    assert [told.rate.value, told.position.value, told.flips.value] == pytest.approx([0.5, 0.5, 1.0])
    assert told.reversed_ == 60


def test_no_verdict_at_all_leaves_everything_open() -> None:
    told = win_rate([None, None], [None, 1.0])
    assert (told.rate, told.flips, told.position) == (None, None, None)
    assert told.bounds == (0.25, 1.0)


@given(
    st.lists(
        st.tuples(*[st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, None])] * 2),
        min_size=1,
        max_size=40,
    )
)
def test_bounds_hold_every_way_to_fill_what_is_missing(pairs: list[tuple[float | None, float | None]]) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    told = win_rate(first, second)
    turned = win_rate([None if x is None else 1 - x for x in second], [None if x is None else 1 - x for x in first])
    low, high = told.bounds
    assert 0 <= low <= high <= 1
    assert list(turned.bounds) == pytest.approx([1 - high, 1 - low])  # the reference's side of it
    if not told.unparsed:
        assert told.rate is not None
        assert low == high == pytest.approx(told.rate.value)


@pytest.mark.parametrize("broken", [([], []), ([1.0], []), ([2.0], [1.0]), ([1.0], [1.0], ["a", "b"])])
def test_what_is_no_verdict_is_refused(broken: Any) -> None:
    with pytest.raises(UserError):
        win_rate(*broken)
