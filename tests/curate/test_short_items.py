"""Short items: which words are slips of others, where words lie, and by which pairs of words an item is found."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.curate.overlap_kernels import pairs, seeds
from caravan.curate.short_items import Pair, Spans, is_sentence, is_slip, stands, with_slips
from caravan.curate.words import word_spans, words


@pytest.mark.parametrize(
    ("one", "other", "slip"),
    [
        ("ferryman", "ferrymen", True),
        ("ferryman", "feryman", True),
        ("ferryman", "ferrymann", True),
        ("from", "form", True),
        ("from", "for", False),  # too short for a letter more or less
        ("iran", "iraq", False),
        ("1984", "1894", False),  # other digits are another number
        ("mp3s", "mp4s", False),
        ("ferryman", "ferryman", False),  # nothing slipped
        ("desert", "country", False),
        ("constantinople", "constantinpole", True),
        ("constantinople", "konstantinupel", False),
        ("", "a", False),
    ],
)
def test_slips_of_the_pen(one: str, other: str, slip: bool) -> None:
    assert is_slip(one, other) == is_slip(other, one) == slip


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), st.text("ab é한中\n\u0301.", max_size=60))
def test_spans_are_those_of_the_whole_text(one: str, other: str) -> None:
    for text in (one, other, f"{one}\n{other}", f"{other} {one}"):
        spans = Spans(text)
        assert [spans[n] for n in range(len(spans))] == word_spans(text)


def test_a_slip_is_looked_for_where_the_word_should_stand() -> None:
    item = ["when", "did", "the", "ferryman", "of", "hulm", "retire"]
    text = ["he", "asked", "when", "did", "the", "feryman", "of", "hulm", "retire", "and", "the", "ferrymen", "laughed"]

    def strange(place: int) -> str:
        return text[place] if 0 <= place < len(text) and text[place] not in item else ""

    held = [Pair(w, w + 2) for w in (0, 1, 2, 4, 5, 6)]
    assert with_slips(held, item, strange)[3] == Pair(3, 5, slip=True)
    assert with_slips(held[3:], item, strange)[0] == Pair(3, 5, slip=True), "at the beginning too"
    assert len(with_slips(held, item, lambda _: "")) == 6


def test_what_may_be_lost() -> None:
    text = "Say: who is mayor of Kerrin? I ask"
    spans, weight = Spans(text), [1.0, 1.0, 0.5, 3.0, 1.0, 3.0]  # who is the mayor of Kerrin
    held = [Pair(0, 1), Pair(1, 2), Pair(3, 3), Pair(4, 4), Pair(5, 5)]
    assert stands(text, spans, held, weight, by_itself=True)
    assert not stands(text, spans, [pair for pair in held if pair.word != 3], weight, by_itself=False)
    inside = "Say who is mayor of Kerrin? I ask"
    assert not stands(inside, Spans(inside), held, weight, by_itself=True)
    assert stands(inside, Spans(inside), held, weight, by_itself=False)
    ends = "Say: now is mayor of Kerrin?"
    assert stands(ends, Spans(ends), held[1:], weight, by_itself=True), "a word at the end stands for the lost one"


@pytest.mark.parametrize("text", ["«Is it?»", "**Is it?**", "Q: Is it?", "是。Is it？是", "…Is it", "Is it\nso"])
def test_sentences_of_their_own(text: str) -> None:
    start = text.index("Is it")
    assert is_sentence(text, start, start + 5)


@pytest.mark.parametrize("text", ["Is it so?", "Say, Is it?", "that Is it", "Is it, then?"])
def test_parts_of_sentences(text: str) -> None:
    start = text.index("Is it")
    assert not is_sentence(text, start, start + 5)


@given(st.lists(st.integers(0, 5), min_size=3, max_size=15), st.integers(0, 2), st.data())
def test_whichever_words_are_edited_a_seed_is_left(drawn: list[int], depth: int, data: st.DataObject) -> None:
    """If any pair is left at all."""
    made = words([" ".join(f"w{n}" for n in drawn)])
    _, entry, first, second = pairs(made.values, made.offsets, 2)
    taken = seeds(np.searchsorted(entry, [0, 1]), first, second, np.array([depth]))
    edited = set(data.draw(st.lists(st.sampled_from(range(len(drawn))), max_size=depth)))
    left = [not {int(a), int(b)} & edited for a, b in zip(first, second, strict=True)]
    assert any(one and here for one, here in zip(taken, left, strict=True)) == any(left)
    assert taken.sum() <= 2 ** (depth + 1) - 1
