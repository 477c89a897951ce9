"""Exact totals, caps that bind, and what was handed on."""

from collections.abc import Mapping
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from caravan.errors import UserError
from caravan.mixtures.allocate import allocate, largest_remainder, notes

TULU = {"flan": 0.30, "sharegpt": 0.35, "oasst": 0.15, "cot": 0.15, "dolly": 0.05}
share_tables = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 1, allow_subnormal=False), min_size=1)


def test_the_published_shares_give_the_round_counts() -> None:
    assert largest_remainder(TULU, 80_000) == {
        "flan": 24_000, "sharegpt": 28_000, "oasst": 12_000, "cot": 12_000, "dolly": 4_000,
    }  # fmt: skip


@given(st.integers(1, 10**9))
def test_a_decimal_share_is_exact_where_the_product_is_whole(tens: int) -> None:
    assert largest_remainder({"a": 0.3, "b": 0.7}, tens * 10) == {"a": tens * 3, "b": tens * 7}


def test_equal_remainders_go_by_name_whatever_the_order_of_the_table() -> None:
    assert largest_remainder({"b": 1 / 3, "c": 1 / 3, "a": 1 / 3}, 100) == {"b": 33, "c": 33, "a": 34}
    assert largest_remainder({"z": 0.5, "y": 0.5}, 1) == {"z": 0, "y": 1}


@given(share_tables, st.integers(0, 10**13))
def test_totals_are_exact_and_counts_within_one_of_their_quota(shares: dict[str, float], total: int) -> None:
    assume(sum(shares.values()) > 1e-3)
    counts = largest_remainder(shares, total)
    assert list(counts) == list(shares)
    assert sum(counts.values()) == total
    whole = sum(Fraction(s).limit_denominator(10**9) for s in shares.values())
    for name, share in shares.items():
        assert abs(counts[name] - Fraction(share).limit_denominator(10**9) * total / whole) < 1
        assert counts[name] >= 0


@given(share_tables, st.integers(0, 5000))
def test_one_more_row_changes_no_source_by_more_than_one(shares: dict[str, float], total: int) -> None:
    assume(sum(shares.values()) > 1e-3)
    small, large = largest_remainder(shares, total), largest_remainder(shares, total + 1)
    assert all(large[n] >= small[n] - 1 for n in shares)
    if len(shares) <= 2:  # with two sources the method never takes a row back
        assert all(large[n] >= small[n] for n in shares)


def test_the_alabama_paradox_is_as_the_docstring_says() -> None:
    shares = {"a": 6.0, "b": 6.0, "c": 2.0}
    assert list(largest_remainder(shares, 10).values()) == [4, 4, 2]
    assert list(largest_remainder(shares, 11).values()) == [5, 5, 1]


def test_no_share_at_all() -> None:
    assert largest_remainder({"a": 0.0}, 0) == {"a": 0}
    with pytest.raises(UserError, match="no source has a share above 0"):
        largest_remainder({"a": 0.0}, 1)


def test_what_a_cap_refuses_is_shared_out_by_the_other_shares() -> None:
    result = allocate({"a": 0.5, "b": 0.3, "c": 0.2}, 100, {"a": 5, "b": 1000, "c": 1000}, max_repeats=4)
    assert result.requested == {"a": 50, "b": 30, "c": 20}
    assert result.given == {"a": 20, "b": 48, "c": 32}  # 80 left, shared 3 : 2
    assert result.handed_on == {"a": 30}
    assert notes(result, "examples") == [
        "a: 50 examples requested, 20 given, which is its repeat cap; the other sources took over 30"
    ]


def test_a_cap_may_bind_only_because_another_did() -> None:
    result = allocate({"one": 1 / 3, "ten": 1 / 3, "many": 1 / 3}, 100, {"one": 1, "ten": 10, "many": 1000}, 4)
    assert result.given == {"one": 4, "ten": 40, "many": 56}
    assert result.handed_on == {"one": 29}  # ten asked for 33 and gives 40


def test_an_impossible_request_is_refused_with_the_numbers() -> None:
    with pytest.raises(UserError, match=r"100 requested, but 44 is the most: 4 times .*\(a 1, b 10\)"):
        allocate({"a": 0.5, "b": 0.5, "unused": 0.0}, 100, {"a": 1, "b": 10, "unused": 10**6}, 4)
    with pytest.raises(UserError, match="but 0 is the most"):
        allocate({"a": 1.0}, 1, {"a": 0}, 4)


def test_everything_that_there_is_can_be_asked_for() -> None:
    assert allocate({"a": 0.9, "b": 0.1}, 44, {"a": 1, "b": 10}, 4).given == {"a": 4, "b": 40}
    assert allocate({"a": 1.0}, 0, {"a": 0}, 4).given == {"a": 0}


@given(share_tables, st.integers(0, 3000), st.integers(1, 5), st.data())
def test_caps_hold_and_totals_stay_exact(
    shares: Mapping[str, float], total: int, cap: int, data: st.DataObject
) -> None:
    assume(all(s == 0 or s > 1e-6 for s in shares.values()) and any(shares.values()))
    available = {n: data.draw(st.integers(0, 1000), label=n) for n in shares}
    most = sum(available[n] for n in shares if shares[n] > 0) * cap
    if total > most:
        with pytest.raises(UserError, match=f"{most:,} is the most"):
            allocate(shares, total, available, cap)
        return
    result = allocate(shares, total, available, cap)
    assert sum(result.given.values()) == sum(result.requested.values()) == total
    for name in shares:
        assert 0 <= result.given[name] <= available[name] * cap
        assert shares[name] > 0 or result.given[name] == 0
        if name in result.handed_on:  # only a source at its cap gives less than it was asked for, but for rounding
            assert result.given[name] == available[name] * cap or result.handed_on[name] == 1
