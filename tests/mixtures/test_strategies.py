"""Shares by each strategy: published values, sizes of very different scale, sources with nothing to give."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.errors import UserError
from caravan.mixtures import strategy as contract
from caravan.mixtures.allocate import allocate
from caravan.mixtures.strategy import SourceFigures
from caravan.plugins import find, load

NAMES = ["equal", "inverse", "proportional", "quality_weighted", "temperature", "tuned"]


def source(name: str, examples: int, quality: float | None = 0.5, weight: float | None = 1.0) -> SourceFigures:
    return SourceFigures(name, examples, examples * 100, examples * 60, quality, weight)


def shares(strategy: str, sources: list[SourceFigures], **options: Any) -> dict[str, float]:
    module = load("strategies", strategy)
    result: dict[str, float] = module.shares(sources, module.Options(**options))
    return result


def test_every_strategy_is_found_and_keeps_the_contract() -> None:
    assert set(NAMES) <= set(find("strategies"))
    for name in NAMES:
        module: contract.Strategy[contract.StrategyOptions] = load("strategies", name)
        assert module.__doc__
        assert module.ranked(module.Options()) is (name == "quality_weighted")


@pytest.mark.parametrize("name", NAMES)
def test_sizes_1_10_1000_give_exactly_100_within_the_cap(name: str) -> None:
    sources = [source("one", 1), source("ten", 10), source("many", 1000)]
    found = shares(name, sources)
    assert math.isclose(sum(found.values()), 1)
    result = allocate(found, 100, {s.name: s.examples for s in sources}, max_repeats=4)
    assert sum(result.requested.values()) == sum(result.given.values()) == 100
    assert result.given["one"] <= 4
    assert result.given["ten"] <= 40


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("equal", {}, [1 / 3, 1 / 3, 1 / 3]),
        ("proportional", {}, [1 / 1011, 10 / 1011, 1000 / 1011]),
        ("inverse", {}, [1 / 1.101, 0.1 / 1.101, 0.001 / 1.101]),
        ("temperature", {"temperature": 1}, [1 / 1011, 10 / 1011, 1000 / 1011]),
        ("temperature", {}, [n**0.5 / (1 + 10**0.5 + 1000**0.5) for n in (1, 10, 1000)]),
        ("temperature", {"temperature": 1e9}, [1 / 3, 1 / 3, 1 / 3]),
        ("temperature", {"temperature": 1e-3}, [0, 0, 1]),
    ],
)
def test_formulas(name: str, options: dict[str, Any], expected: list[float]) -> None:
    found = shares(name, [source("a", 1), source("b", 10), source("c", 1000)], **options)
    assert list(found.values()) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_source_gets_nothing_and_the_rest_the_whole(name: str) -> None:
    sources = [source("a", 50), source("gone", 0), source("b", 50)]
    found = shares(name, sources)
    assert found == pytest.approx({"a": 0.5, "gone": 0.0, "b": 0.5})
    assert contract.notes(sources, found)[0].startswith("gone has no examples left")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_at_all_is_refused_with_the_names(name: str) -> None:
    with pytest.raises(UserError, match=r"no source has examples left \(a, b\)"):
        shares(name, [source("a", 0), source("b", 0)])


@given(st.lists(st.tuples(st.integers(0, 10**12), st.floats(0, 1), st.floats(0, 5)), min_size=1, max_size=8))
def test_shares_are_never_negative_and_sum_to_one(rows: list[tuple[int, float, float]]) -> None:
    sources = [source(f"s{i}", n, q, w) for i, (n, q, w) in enumerate(rows)]
    for name in NAMES:
        try:
            found = shares(name, sources)
        except UserError:
            assert all(s.examples == 0 or s.weight == 0 for s in sources)
            continue
        assert all(share >= 0 for share in found.values())
        assert math.isclose(sum(found.values()), 1)
        assert all(found[s.name] == 0 for s in sources if s.examples == 0)


def test_formulas_over_sizes_follow_the_recipes_unit() -> None:
    a = SourceFigures("a", 10, 3000, 10, 0.5, unit="tokens")
    b = SourceFigures("b", 90, 1000, 90, 0.5, unit="tokens")
    assert shares("proportional", [a, b]) == pytest.approx({"a": 0.75, "b": 0.25})
    assert shares("proportional", [a._replace(unit="examples"), b._replace(unit="examples")])["a"] == pytest.approx(0.1)


def test_quality_weighted_gives_the_published_shares() -> None:
    five = [source(n, 10, q) for n, q in [("flan", 0.2), ("ShareGPT", 0.9), ("oasst1", 0.4), ("cot", 1), ("dolly", 0)]]
    found = shares("quality_weighted", five)
    assert found == pytest.approx({"flan": 0.30, "ShareGPT": 0.35, "oasst1": 0.15, "cot": 0.15, "dolly": 0.05})


def test_quality_weighted_scales_others_by_their_quality() -> None:
    # Published: mean share (.30 + .05) / 2 = .175, mean quality (.4 + .6) / 2 = .5; mine: .175 * .7 / .5 = .245.
    found = shares("quality_weighted", [source("flan", 10, 0.4), source("dolly", 99, 0.6), source("mine", 5, 0.7)])
    assert found == pytest.approx({"flan": 0.30 / 0.595, "dolly": 0.05 / 0.595, "mine": 0.245 / 0.595})


def test_quality_weighted_takes_its_means_over_sources_that_have_examples() -> None:
    found = shares("quality_weighted", [source("flan", 10, 0.4), source("sharegpt", 0, None), source("mine", 5, 0.4)])
    assert found == pytest.approx({"flan": 0.5, "sharegpt": 0.0, "mine": 0.5})


def test_quality_weighted_without_published_sources_follows_quality() -> None:
    assert shares("quality_weighted", [source("a", 9, 0.2), source("b", 9, 0.6)]) == pytest.approx(
        {"a": 0.25, "b": 0.75}
    )
    assert shares("quality_weighted", [source("a", 9, 0.0), source("b", 9, 0.0)]) == pytest.approx({"a": 0.5, "b": 0.5})


def test_quality_weighted_divides_a_share_that_two_names_claim() -> None:
    found = shares("quality_weighted", [source("oasst", 10), source("oasst1", 10), source("dolly", 10)])
    assert found == pytest.approx({"oasst": 0.375, "oasst1": 0.375, "dolly": 0.25})


def test_quality_weighted_without_measured_quality_says_what_to_do() -> None:
    with pytest.raises(UserError, match=r"needs the quality of .mine.*filter quality"):
        shares("quality_weighted", [source("flan", 10), source("mine", 10, None)])


def test_tuned_takes_weights_and_says_when_they_were_scaled() -> None:
    sources = [source("a", 10, weight=0.3), source("b", 10, weight=0.9)]
    found = shares("tuned", sources)
    assert found == pytest.approx({"a": 0.25, "b": 0.75})
    assert contract.notes(sources, found) == ["the given weights sum to 1.2, not to 1: each was divided by the sum"]
    whole = [source("a", 10, weight=0.3), source("b", 10, weight=0.7)]
    assert contract.notes(whole, shares("tuned", whole)) == []


def test_tuned_names_the_source_without_a_weight() -> None:
    with pytest.raises(UserError, match=r"^sources\.b\.share: .*'b' has none; give it a share"):
        shares("tuned", [source("a", 10), source("b", 10, weight=None)])
    with pytest.raises(UserError, match="no source with examples has a weight above 0"):
        shares("tuned", [source("a", 10, weight=0), source("b", 0, weight=1)])


def test_weights_that_a_strategy_does_not_use_are_said() -> None:
    sources = [source("a", 10, weight=0.3), source("b", 10, weight=0.7)]
    assert "not used by this strategy" in contract.notes(sources, shares("equal", sources))[0]
