"""Packing: nothing is lost, nothing overflows, and ranks that wait for one another wait little."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.train.pack import pack, pack_evenly

LENGTHS = st.lists(st.integers(1, 64), max_size=60)


@given(LENGTHS)
def test_each_length_lies_in_one_bin_and_no_bin_overflows(lengths: list[int]) -> None:
    bins = pack(lengths, 64)
    assert sorted(i for b in bins for i in b) == list(range(len(lengths)))
    assert all(0 < sum(lengths[i] for i in b) <= 64 for b in bins)


@given(LENGTHS)
def test_no_two_bins_would_fit_into_one_more_often_than_best_fit_allows(lengths: list[int]) -> None:
    bins = pack(lengths, 64)
    fewest = -(-sum(lengths) // 64)
    assert len(bins) <= 11 / 9 * max(fewest, sum(n > 32 for n in lengths)) + 6 / 9 or len(bins) <= 2 * fewest


def test_the_tightest_bin_is_taken() -> None:
    # 7 and 6 open a bin each; 3 fits both, tightest in the bin of 7; 4 then fits that of 6 exactly.
    assert pack([7, 6, 4, 3], 10) == [[0, 3], [1, 2]]


def test_a_length_over_the_capacity_is_refused() -> None:
    with pytest.raises(ValueError, match="11 does not fit a capacity of 10"):
        pack([3, 11], 10)


@given(LENGTHS, st.integers(1, 8))
def test_even_packing_takes_no_more_rounds_than_plain_packing(lengths: list[int], ranks: int) -> None:
    plain, even = pack(lengths, 64), pack_evenly(lengths, 64, ranks)
    assert sorted(i for b in even for i in b) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in b) <= 64 for b in even)
    assert -(-len(even) // ranks) == -(-len(plain) // ranks)
    sums = [sum(lengths[i] for i in b) for b in even]
    assert sums == sorted(sums, reverse=True)


def test_even_packing_shares_the_work() -> None:
    """Nine conversations of 30 on four ranks: plain packing gives 90, 90, 90 and leaves a rank without work."""
    assert [sum([30] * len(b)) for b in pack([30] * 9, 90)] == [90, 90, 90]
    assert [30 * len(b) for b in pack_evenly([30] * 9, 90, 4)] == [90, 90, 90]
    assert [30 * len(b) for b in pack_evenly([30] * 8, 90, 4)] == [60, 60, 60, 60]
