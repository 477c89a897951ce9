"""The splitters over lists of token counts, at the limit of 100 for which the published losses were observed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan.converters.splitting import (
    PER_MESSAGE,
    estimate_tokens,
    split,
    split_fastchat,
    split_open_instruct,
)

SMALL, MIDDLE, HUGE = (10, 20), (30, 30), (10, 200)

PAIRS = st.lists(st.tuples(st.integers(0, 120), st.integers(0, 120)), max_size=12)


def parts(ranges: list[range]) -> list[list[int]]:
    return [list(r) for r in ranges]


@pytest.mark.parametrize(
    ("pairs", "ours", "published"),
    [
        ([SMALL] * 3, [[0, 1], [2]], [[0, 1]]),  # the last pair causes a cut and is lost
        ([MIDDLE] * 2, [[0], [1]], [[0]]),
        ([SMALL, HUGE], [[0], [1]], [[0]]),  # an oversize pair at the end disappears
        ([SMALL] * 2, [[0, 1]], [[0, 1]]),
        ([], [], []),
    ],
)
def test_pairs_that_both_published_splitters_lose(
    pairs: list[tuple[int, int]], ours: list[list[int]], published: list[list[int]]
) -> None:
    assert parts(split(pairs, 100).parts) == ours
    assert parts(split_fastchat(pairs, 100).parts) == published
    assert parts(split_open_instruct(pairs, 100).parts) == published


def test_open_instruct_loses_an_oversize_pair_and_the_one_after_it() -> None:
    pairs = [HUGE, (10, 10)]
    assert split_open_instruct(pairs, 100) == ([], [0, 1])
    assert parts(split(pairs, 100).parts) == [[0], [1]]


def test_open_instruct_keeps_what_follows_later() -> None:
    found = split_open_instruct([(10, 10), HUGE, (10, 10), (10, 10)], 100)
    assert parts(found.parts) == [[0], [2, 3]]
    assert found.lost == [1]


def test_fastchat_keeps_an_oversize_pair_in_the_middle() -> None:
    found = split_fastchat([(10, 10), HUGE, (10, 10), (10, 10)], 100)
    assert parts(found.parts) == [[0], [1], [2, 3]]


def test_fastchat_with_an_oversize_pair_first_gives_no_empty_part_here() -> None:
    assert parts(split_fastchat([HUGE, (10, 10), (10, 10)], 100).parts) == [[0], [1, 2]]


def test_an_oversize_pair_can_be_refused() -> None:
    found = split([(10, 10), HUGE, (10, 10)], 100, oversize="refuse")
    assert (parts(found.parts), found.lost) == ([[0], [2]], [1])


def test_every_part_pays_for_the_system_turn() -> None:
    assert parts(split([SMALL] * 2, 100, head=16).parts) == [[0, 1]]
    assert parts(split([SMALL] * 2, 100, head=17).parts) == [[0], [1]]
    assert parts(split([SMALL] * 2, 100, head=500).parts) == [[0], [1]]


@settings(deadline=None)
@given(PAIRS, st.integers(1, 300), st.integers(0, 80), st.sampled_from(["keep", "refuse"]))
def test_ours_loses_no_pair(pairs: list[tuple[int, int]], limit: int, head: int, oversize: str) -> None:
    found = split(pairs, limit, head=head, oversize="keep" if oversize == "keep" else "refuse")
    assert sorted([i for part in found.parts for i in part] + found.lost) == list(range(len(pairs)))
    assert found.lost == [] or oversize == "refuse"

    def cost(numbers: range) -> int:
        return head + sum(sum(pairs[i]) + 2 * PER_MESSAGE for i in numbers)

    assert all(cost(part) <= limit or (len(part) == 1 and oversize == "keep") for part in found.parts)
    for before, after in zip(found.parts, found.parts[1:], strict=False):
        if before.stop == after.start:  # neighbours are cut only where they must be
            assert cost(range(before.start, after.start + 1)) > limit


@settings(deadline=None)
@given(PAIRS, st.integers(1, 300))
def test_the_published_ones_account_for_what_they_lose(pairs: list[tuple[int, int]], limit: int) -> None:
    for splitter in (split_fastchat, split_open_instruct):
        found = splitter(pairs, limit)
        assert all(found.parts)
        assert sorted([i for part in found.parts for i in part] + found.lost) == list(range(len(pairs)))


def test_tokens_are_estimated_from_bytes() -> None:
    assert [estimate_tokens(t, 4) for t in ("", "a", "abcd", "abcde", "日本", "\ud800")] == [0, 1, 1, 2, 2, 1]
    assert estimate_tokens("abcdef", 3) == 2
