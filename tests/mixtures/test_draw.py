"""Which rows are drawn: nested, independent of other sources, of the order of rows, and of the machine."""

from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.mixtures.draw import draw_order, take, validation_split

IDS = [f"{n:032x}" for n in range(1, 401)]
id_lists = st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=40)


def names(ids: list[str], positions: npt.NDArray[np.int64]) -> list[str]:
    return [ids[p] for p in positions]


def test_the_order_is_the_same_everywhere() -> None:
    """Golden: computed once, with blake2b alone; a change would move every mixture ever built."""

    def key(one: str) -> bytes:
        return blake2b(b"draw\x007\x00cot\x00" + one.encode(), digest_size=16).digest()

    assert names(IDS, draw_order(IDS, 7, "cot")) == sorted(IDS, key=key)
    fruit = ["apple", "fig", "grape", "pear", "plum"]
    assert names(fruit, draw_order(fruit, 0, "dolly")) == ["apple", "plum", "grape", "fig", "pear"]


@given(id_lists, st.integers(0, 2**63), st.data())
def test_the_order_of_rows_and_batches_does_not_matter(ids: list[str], seed: int, data: st.DataObject) -> None:
    other = data.draw(st.permutations(ids))
    assert names(ids, draw_order(ids, seed, "s")) == names(other, draw_order(other, seed, "s"))


@given(id_lists, id_lists)
def test_rows_that_come_or_go_do_not_move_the_others(ids: list[str], more: list[str]) -> None:
    both = list(dict.fromkeys([*ids, *more]))
    assert [n for n in names(both, draw_order(both, 3, "s")) if n in ids] == names(ids, draw_order(ids, 3, "s"))


def test_seed_and_source_each_give_another_order() -> None:
    orders = [tuple(draw_order(IDS, seed, source)) for seed in (0, 1) for source in ("cot", "dolly", "1\0cot")]
    assert len(set(orders)) == 6
    assert all(sorted(order) == list(range(400)) for order in orders)


def test_hash_order_has_no_bias_to_early_rows() -> None:
    first = np.array([draw_order(IDS, seed, "s")[:40].mean() for seed in range(50)])
    assert abs(first.mean() - 199.5) < 4 * 115.5 / np.sqrt(40 * 50)  # four standard errors of a uniform mean


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_ranked_draws_better_rows_first(quality: list[float]) -> None:
    ids = IDS[: len(quality)]
    ranked = np.round(np.array(quality)[draw_order(ids, 0, "s", quality, ranked=True)], 6)
    assert (np.diff(ranked) <= 0).all()


def test_ranked_rows_of_equal_quality_keep_hash_order() -> None:
    quality = np.full(400, 0.1 + 0.2)
    quality[::2] = 0.3  # equal but for the last bit
    assert (draw_order(IDS, 5, "s", quality, ranked=True) == draw_order(IDS, 5, "s")).all()
    assert (draw_order(IDS, 5, "s", quality) == draw_order(IDS, 5, "s")).all()


def test_an_unmeasured_row_ranks_last() -> None:
    assert list(draw_order(["a", "b", "c"], 0, "s", [np.nan, 0.1, 0.9], ranked=True)) == [2, 1, 0]


@pytest.mark.parametrize("count", [0, 1, 399, 400, 401, 1000, 1600])
def test_rows_come_in_whole_copies(count: int) -> None:
    order = draw_order(IDS, 0, "s")
    drawn = take(order, count)
    assert len(drawn.positions) == count
    assert list(drawn.positions) == [order[i % 400] for i in range(count)]
    assert list(drawn.copies) == [i // 400 + 1 for i in range(count)]


@given(st.integers(0, 900), st.integers(0, 900))
def test_a_larger_mixture_contains_the_smaller_one(a: int, b: int) -> None:
    order = draw_order(IDS[:200], 0, "s")
    small, large = take(order, min(a, b)), take(order, max(a, b))
    assert (large.positions[: len(small.positions)] == small.positions).all()
    assert (large.copies[: len(small.copies)] == small.copies).all()


lengths_lists = st.lists(st.integers(0, 50), min_size=1, max_size=30).filter(any)


@given(lengths_lists, st.integers(0, 4), st.data())
def test_tokens_come_as_near_as_whole_rows_allow(lengths: list[int], copies: int, data: st.DataObject) -> None:
    order = draw_order(IDS[: len(lengths)], 0, "s")
    target = data.draw(st.integers(0, sum(lengths) * copies))
    drawn = take(order, target, lengths)
    sums = np.cumsum([0, *np.tile(np.array(lengths)[order], copies + 1)])
    reached = int(np.array(lengths)[drawn.positions].sum())
    assert abs(reached - target) == np.abs(sums - target).min()
    assert len(drawn.positions) == int(np.abs(sums - target).argmin())  # the fewest such rows
    assert max(drawn.copies, default=0) <= copies


@given(lengths_lists, st.integers(0, 3000), st.integers(0, 3000))
def test_a_larger_token_count_contains_the_smaller_one(lengths: list[int], a: int, b: int) -> None:
    order = draw_order(IDS[: len(lengths)], 0, "s")
    small, large = take(order, min(a, b), lengths), take(order, max(a, b), lengths)
    assert list(large.positions[: len(small.positions)]) == list(small.positions)


def test_no_row_comes_of_a_source_without_tokens() -> None:
    assert len(take(draw_order(IDS, 0, "s"), 10, np.zeros(400)).positions) == 0
    assert len(take(draw_order([], 0, "s"), 0).positions) == 0


def test_validation_keeps_groups_together_across_sources() -> None:
    groups = np.arange(400) // 4
    split = validation_split(IDS, groups, 0.25, seed=1)
    by_group = split.reshape(100, 4)
    assert (by_group.all(axis=1) | ~by_group.any(axis=1)).all()
    assert 0.1 < split.mean() < 0.4


def test_validation_holds_about_its_share() -> None:
    ids = [f"row-{n}" for n in range(20_000)]
    share = validation_split(ids, np.arange(20_000), 0.05, seed=0).mean()
    assert abs(share - 0.05) < 4 * (0.05 * 0.95 / 20_000) ** 0.5
    assert not validation_split(ids[:500], np.arange(500), 0.0, seed=0).any()


@given(id_lists.filter(bool), st.floats(0, 0.9), st.floats(0, 0.9), st.data())
def test_validation_rows_are_nested_and_decide_alone(ids: list[str], a: float, b: float, data: st.DataObject) -> None:
    groups = data.draw(st.lists(st.integers(0, 5), min_size=len(ids), max_size=len(ids)))
    small, large = (validation_split(ids, groups, share, 0) for share in sorted((a, b)))
    assert not (small & ~large).any()
    for label in set(groups):
        alone = [one for one, g in zip(ids, groups, strict=True) if g == label]
        expected = validation_split(alone, [0] * len(alone), a, 0)[0]
        assert all(validation_split(ids, groups, a, 0)[np.array(groups) == label] == expected)
