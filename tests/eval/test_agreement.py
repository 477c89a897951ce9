"""Agreement of raters: equal to the reference packages, by hand in small cases, and words where nothing is defined."""

import math
import warnings
from collections.abc import Sequence

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import aggregate_raters, cohens_kappa, fleiss_kappa

from caravan.eval.statistics.agreement import Measure, agreement, alpha, cohen, fleiss, raw

# four observers, twelve units, ratings missing: the example by which Krippendorff explains alpha (2011)
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]
UNITS = [list(unit) for unit in zip(*OBSERVERS, strict=True)]


@pytest.mark.parametrize(("measure", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_of_the_published_example(measure: Measure, published: float) -> None:
    assert alpha(UNITS, measure) == pytest.approx(published, abs=5e-4)


ratings = st.lists(
    st.lists(st.none() | st.integers(0, 4), min_size=3, max_size=3),
    min_size=2,
    max_size=25,
)


@settings(deadline=None)
@given(ratings, st.sampled_from(["nominal", "ordinal", "interval"]))
def test_alpha_equals_the_reference_package(units: list[list[int | None]], measure: Measure) -> None:
    comparable = [r for unit in units for r in unit if r is not None and sum(x is not None for x in unit) > 1]
    ours = alpha(units, measure)
    if len(set(comparable)) < 2:
        assert math.isnan(ours)
        return
    table = np.array([[np.nan if r is None else r for r in unit] for unit in units], dtype=float).T
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = krippendorff.alpha(reliability_data=table, level_of_measurement=measure)
    assert ours == pytest.approx(theirs, abs=1e-9)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=60))
def test_cohen_equals_the_reference_package(pairs: list[tuple[int, int]]) -> None:
    ours = cohen([a for a, _ in pairs], [b for _, b in pairs])
    if len({a for pair in pairs for a in pair}) == 1:
        assert math.isnan(ours)
        return
    table = np.zeros((4, 4))
    for a, b in pairs:
        table[a, b] += 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = cohens_kappa(table).kappa
    assert ours == pytest.approx(theirs, abs=1e-9)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=2, max_size=40))
def test_fleiss_equals_the_reference_package(units: list[list[int]]) -> None:
    ours = fleiss(units)
    if len({r for unit in units for r in unit}) == 1:
        assert math.isnan(ours)
        return
    assert ours == pytest.approx(fleiss_kappa(aggregate_raters(np.array(units))[0]), abs=1e-9)


def test_by_hand() -> None:
    # 10 pairs: 4 yes-yes, 3 no-no, 2 yes-no, 1 no-yes; chance .6 * .5 + .4 * .5 = .5, so kappa (.7 - .5) / .5
    one = ["yes"] * 6 + ["no"] * 4
    two = ["yes"] * 4 + ["no"] * 5 + ["yes"]
    assert cohen(one, two) == pytest.approx(0.4)
    pairs = [[a, b] for a, b in zip(one, two, strict=True)]
    assert raw(pairs) == pytest.approx(0.7)
    # three raters: item 1 all agree, item 2 one pair of three
    three: list[list[str | None]] = [["a", "a", "a"], ["a", "a", "b"], ["b", None, None]]
    assert raw(three) == pytest.approx((1 + 1 / 3) / 2)


@given(ratings, st.permutations([0, 1, 2, 3, 4]))
def test_nominal_alpha_does_not_care_for_names_and_order(units: list[list[int | None]], names: list[int]) -> None:
    renamed = [[None if r is None else f"category {names[r]}" for r in reversed(unit)] for unit in reversed(units)]
    assert alpha(renamed) == pytest.approx(alpha(units), nan_ok=True)


def test_perfect_agreement_is_one_and_its_interval_honest() -> None:
    found = agreement([["a", "a"], ["b", "b"], ["c", "c"]] * 10)
    assert found.alpha.value == 1
    assert found.kappa is not None
    assert found.kappa.value == 1
    assert (found.raw.value, found.raw.high) == (1, 1)
    assert found.raw.low == pytest.approx(0.886, abs=1e-3)  # Wilson of 30 of 30
    assert math.isnan(found.alpha.low)
    assert "bootstrap" in found.alpha.method


def test_one_category_is_words_not_a_crash() -> None:
    units: list[list[str | None]] = [["fine", "fine"], ["fine", "fine"], ["fine", None]]
    found = agreement(units)
    assert found.items == 2
    assert math.isnan(found.alpha.value)
    assert found.raw.value == 1
    assert "every rating is fine" in found.note
    assert found.prevalence == {"fine": 1.0}


@pytest.mark.parametrize("units", [[], [["a", None]], [[None, None]], [["a"], ["b"]]])
def test_nothing_to_compare_is_words_not_a_crash(units: list[list[str | None]]) -> None:
    found = agreement(units)
    assert found.items == 0
    assert math.isnan(found.raw.value)
    assert math.isnan(found.alpha.value)
    assert found.kappa is None
    assert "no item has two ratings" in found.note
    assert math.isnan(alpha(units))
    assert math.isnan(raw(units))


def test_high_raw_agreement_beside_a_low_alpha() -> None:
    units: list[list[str]] = [["yes", "yes"]] * 90 + [["yes", "no"]] * 8 + [["no", "no"]] * 2
    found = agreement(units)
    assert found.raw.value == pytest.approx(0.92)
    assert found.alpha.value < 0.35
    assert found.prevalence == {"no": pytest.approx(0.06), "yes": pytest.approx(0.94)}
    assert found.alpha.low < found.alpha.value < found.alpha.high
    assert found.kappa_name == "Cohen"


def test_the_same_interval_every_time_and_whole_items_drawn() -> None:
    units: list[list[int | None]] = [[i % 3, (i * i) % 3, None if i % 4 else i % 2] for i in range(40)]
    first, again = (agreement(units, "ordinal", resamples=500) for _ in range(2))
    assert first == again
    assert first.alpha.n == 40
    assert first.kappa is None  # some items have two ratings, some three


def test_kappa_of_more_than_two_raters_is_fleiss() -> None:
    found = agreement([[1, 1, 2], [2, 2, 2], [1, 2, 1], [1, 1, 1]] * 5, resamples=300)
    assert found.kappa_name == "Fleiss"
    assert found.kappa is not None
    assert found.kappa.value == pytest.approx(fleiss([[1, 1, 2], [2, 2, 2], [1, 2, 1], [1, 1, 1]] * 5))


def test_numbers_are_ordered_by_size_and_words_by_what_the_caller_says() -> None:
    numbers = [[2, 10], [10, 10], [9, 2], [9, 9]]
    words = [["low", "high"], ["high", "high"], ["mid", "low"], ["mid", "mid"]]
    order = ["low", "mid", "high"]
    assert alpha(words, "ordinal", order=order) == pytest.approx(alpha(numbers, "ordinal"))
    assert alpha(np.array(numbers).tolist(), "ordinal") == pytest.approx(
        alpha([list(unit) for unit in np.array(numbers)], "ordinal")
    )
    with pytest.raises(ValueError, match="order"):
        alpha(words, "ordinal")
    with pytest.raises(ValueError, match="interval"):
        alpha(words, "interval")
    with pytest.raises(ValueError, match="not in the order"):
        alpha(words, "ordinal", order=["low", "high"])


@pytest.mark.parametrize("broken", [[[math.nan, 1.0]], [[math.inf, 1.0]]])
def test_a_missing_rating_is_none_and_not_nan(broken: Sequence[Sequence[float]]) -> None:
    with pytest.raises(ValueError, match="None"):
        alpha(broken)


def test_tables_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="2 ratings beside 1"):
        cohen(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="as many ratings"):
        fleiss([["a", "b"], ["a", "b", "b"]])
