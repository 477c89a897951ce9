"""The order is a pure function, and a bin's tensors are its rows laid end to end."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from caravan.train.loader import Order, batch_of, share
from madeup import tokens_of

CPU = torch.device("cpu")
LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=50).map(lambda n: np.array(n, np.int64))


@given(LENGTHS, st.integers(1, 9), st.integers(1, 3), st.sampled_from(["examples", "bins"]), st.booleans())
def test_each_epoch_holds_each_item_once(lengths: np.ndarray, batch: int, ranks: int, unit: str, packing: bool) -> None:
    order = Order(lengths, 40, batch, epochs=2, seed=3, unit=unit, packing=packing, ranks=ranks)
    epochs: list[list[int]] = [[], []]
    for step in range(len(order)):
        epochs[order.place(step)[0]] += [item for items in order.step(step) for item in items]
    assert [sorted(epoch) for epoch in epochs] == [list(range(len(lengths)))] * 2
    with pytest.raises(IndexError):
        order.step(len(order))


@given(LENGTHS, st.integers(1, 9), st.sampled_from(["examples", "bins"]))
def test_a_step_holds_the_same_items_on_any_number_of_ranks_packed_or_not(
    lengths: np.ndarray, batch: int, unit: str
) -> None:
    def items(ranks: int, packing: bool, step: int) -> list[int]:
        order = Order(lengths, 40, batch, epochs=1, unit=unit, packing=packing, ranks=ranks)
        return sorted(item for items in order.step(step) for item in items)

    steps = len(Order(lengths, 40, batch, epochs=1, unit=unit))
    for step in range(steps):
        assert items(1, True, step) == items(3, True, step)
        if unit == "examples":
            assert items(1, True, step) == items(3, False, step)


def test_epochs_and_seeds_differ_and_repeat() -> None:
    lengths = np.full(100, 5)
    one, again, other = (Order(lengths, 40, 100, 2, seed=s, packing=False) for s in (1, 1, 2))
    assert one.step(0) == again.step(0)
    shuffled = [Order(lengths, 40, 10, 2, seed=s).step(n) for s in (1, 2) for n in (0, 10)]
    assert len({str(step) for step in shuffled}) == 4
    assert sorted(one.step(0)) == sorted(other.step(0))


def test_the_order_of_a_seed_never_changes() -> None:
    """A checkpoint of today is continued by the caravan of tomorrow."""
    order = Order(np.full(10, 1), 1, 1, 1, seed=7, packing=False)
    assert [order.step(n)[0][0] for n in range(10)] == GOLDEN


GOLDEN = [8, 4, 1, 6, 3, 2, 7, 5, 9, 0]


@given(st.integers(0, 20), st.integers(1, 5))
def test_ranks_share_all_bins_and_meet_in_every_round(bins: int, ranks: int) -> None:
    parts = [share([(n,) for n in range(bins)], rank, ranks) for rank in range(ranks)]
    assert len({len(part) for part in parts}) == 1
    assert sorted(b for part in parts for b in part if b) == [(n,) for n in range(bins)]


def test_a_bin_is_its_rows_end_to_end() -> None:
    tokens = tokens_of([[5, 6, 7], [8, 9], [10, 11, 12, 13]], [[0, 1, 1], [0, 2], [0, 0, 1, 3]])
    batch = batch_of(tokens, [2, 0], CPU)
    assert batch.ids.tolist() == [[10, 11, 12, 13, 5, 6, 7]]
    assert batch.positions.tolist() == [[0, 1, 2, 3, 0, 1, 2]]
    assert batch.boundaries == (0, 4, 7)
    assert (batch.longest, batch.tokens) == (4, 7)
    assert batch.at.tolist() == [1, 2, 4, 5]  # each predicts the next
    assert batch.targets.tolist() == [12, 13, 6, 7]
    assert batch.segment.tolist() == [0, 0, 1, 1]
    assert batch.turn.tolist() == [1, 3, 1, 1]


def test_an_empty_bin_is_a_token_without_loss() -> None:
    batch = batch_of(tokens_of([[5, 6]], [[0, 1]]), [], CPU)
    assert (batch.ids.shape, batch.targets.shape, batch.tokens, batch.boundaries) == ((1, 1), (0,), 0, (0, 1))
