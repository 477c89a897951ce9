"""Folding, tokens, shingles and words against plain Python that does the same slowly."""

import re
import unicodedata
from collections import Counter

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan.curate import words as w

WHITE = r"[\u0009-\u000d\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+"
ODD = "aBzẞß İıǰΐŉﬁ½…㎏Ω\u212b한글ᄒ\u1161\u11abㅎ\u0301\u0345\u0327"
ODD += "\u200b\u200d\u00ad\ufeff\ufe0f\u20e3\u2028\u00a0\u3000"
ODD += "ไทยก็น้ำ你好。カﾞﾊﾟー々〇\u0dcf\u09be\u09c7မြန်မာខ្មែរ😀👍🏽١२7!-_'’·\x00\x1f\n\ud800\U000e0101\U0001d400"
texts = st.text(st.one_of(st.characters(), st.sampled_from(ODD), st.sampled_from("abc \n.")), max_size=60)
latin = st.lists(
    st.sampled_from(["Cat", "cat", "dog", "12", "+", "7", "955", "Ünïcode", "e\u0301te", "été", "x,"]), max_size=40
)


def sets(texts: list[str], width: int = 5) -> list[set[int]]:
    found = w.shingles(texts, width)
    return [set(part.tolist()) for part in np.split(found.values, found.offsets[1:-1])] if texts else []


def oracle(text: str, width: int = 5) -> set[tuple[str, ...]]:
    """What `shingles` means, for texts of scripts with spaces: n-grams of the words between white space."""
    tokens = [token for token in re.split(WHITE, w.fold(text)) if token]
    if len(tokens) < width:
        return {tuple(tokens)} if tokens else set()
    return {tuple(tokens[i : i + width]) for i in range(len(tokens) - width + 1)}


def jaccard(a: set[object], b: set[object]) -> float:
    return len(a & b) / len(a | b) if a | b else 0.0


@settings(max_examples=150, deadline=None)
@given(
    st.lists(latin, min_size=2, max_size=6),
    st.sampled_from([1, 2, 5]),
    st.sampled_from([" ", "\n\n ", "\u2003", "\u2028"]),
)
def test_jaccard_is_that_of_whitespace_n_grams(rows: list[list[str]], width: int, blank: str) -> None:
    texts = [blank.join(row) for row in rows]
    ours, plain = sets(texts, width), [oracle(text, width) for text in texts]
    assert [len(s) for s in ours] == [len(s) for s in plain]
    for i, a in enumerate(texts):
        for j, _ in enumerate(texts):
            assert jaccard(set(ours[i]), set(ours[j])) == jaccard(set(plain[i]), set(plain[j])), (a, i, j)


def test_shingles_are_sorted_distinct_and_bounded_by_the_texts() -> None:
    rows = ["a b c d e f", "", "one two", " \n\u3000", "a b c d e a b c d e a b c d e", "x " * 3000 + "y"]
    found = w.shingles(rows)
    assert np.diff(found.offsets).tolist() == [2, 0, 1, 0, 5, 2]
    for part in np.split(found.values, found.offsets[1:-1]):
        assert (part[1:] > part[:-1]).all()


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("ab c", "a bc"),
        ("ab c d e f g", "a bc d e f g"),
        ("Compute 12 + 7", "Compute 12 - 7"),
        ("Compute 12 + 7", "Compute 955 - 31"),
        ("a b", "b a"),
        ("a a a a a", "a a a a"),
        ("a b c d", "a b c"),
        ("don't", "dont"),
        ("e", "é"),
        ("０", "1"),
    ],
)
def test_texts_that_must_stay_apart(a: str, b: str) -> None:
    one, other = sets([a, b])
    assert not one & other


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("CAT dog", "cat  DOG\n"),
        ("STRASSE", "straße"),
        ("ΟΔΟΣ οδός", "οδοσ ΟΔΌΣ"),
        ("ПРИВЕТ мир", "привет МИР"),
        ("café", "CAFE\u0301"),
        ("ﬁnal １２", "final 12"),
        ("İstanbul", "i\u0307stanbul"),
        ("한국어", "\u1112\u1161\u11ab\u1100\u116e\u11a8\u110b\u1165"),
        ("soft\u00adhyphen", "softhyphen"),
        ("\ufeffstart", "start"),
        ("你好 世界", "你好世界"),
        ("ｶﾞｷﾞ", "ガギ"),
        ("K", "k"),
    ],
)
def test_texts_that_are_one_when_folded(a: str, b: str) -> None:
    one, other = sets([a, b])
    assert one == other != set()


@pytest.mark.parametrize(
    ("text", "tokens", "words"),
    [
        ("Hello, wörld 42!", 3, 3),
        ("don't stop-gap", 2, 4),
        ("你好。", 3, 2),
        ("HTTP协议2.0版", 5, 6),
        ("ไทย", 3, 3),
        ("น้ำ", 2, 2),
        ("한국어 글", 2, 2),
        ("12 + 7 = 19", 5, 3),
        ("1️⃣ 👍🏽", 2, 1),
        ("½", 1, 2),
        ("snake_case", 1, 2),
        ("\u200b\u00ad\ufeff", 0, 0),
        ("…", 1, 0),
        ("\u0301", 1, 0),
        ("", 0, 0),
    ],
)
def test_both_rules(text: str, tokens: int, words: int) -> None:
    assert w.shingles([text], 1).offsets[-1] == tokens
    assert w.words([text]).values.size == words


@settings(max_examples=600, deadline=None)
@given(texts)
def test_spans_are_one_a_word_in_order_and_read_back_as_that_word(text: str) -> None:
    hashes, spans = w.words([text]).values, w.word_spans(text)
    assert len(spans) == len(hashes)
    assert all(0 <= a < b <= len(text) for a, b in spans)
    assert spans == sorted(spans)
    for (a, b), value in zip(spans, hashes, strict=True):
        assert value in w.words([text[a:b]]).values


def test_spans_point_into_the_text_as_given() -> None:
    text = "“Ｆｉｎｅ”, die STRASSE ﬂoß: CAFE\u0301 你好 — don’t!\u2028½"
    found = [text[a:b] for a, b in w.word_spans(text)]
    assert found == ["Ｆｉｎｅ", "die", "STRASSE", "ﬂoß", "CAFE\u0301", "你", "好", "don", "t", "½", "½"]


@settings(max_examples=300, deadline=None)
@given(texts)
def test_a_text_has_the_words_of_its_folded_form(text: str) -> None:
    assert w.fold(w.fold(text)) == w.fold(text)
    assert w.words([text]).values.tolist() == w.words([w.fold(text)]).values.tolist()
    assert w.digests([text]).tolist() == w.digests([w.fold(text)]).tolist()
    assert w.words([unicodedata.normalize("NFD", text)]).values.tolist() == w.words([text]).values.tolist()


@settings(max_examples=100, deadline=None)
@given(st.lists(texts, max_size=12), st.integers(1, 7))
def test_a_text_is_measured_alone(rows: list[str], width: int) -> None:
    together, words = w.shingles(rows, width), w.words(rows)
    assert len(together.offsets) == len(words.offsets) == len(rows) + 1
    for i, text in enumerate(rows):
        alone = w.shingles([text], width).values
        assert together.values[together.offsets[i] : together.offsets[i + 1]].tolist() == alone.tolist()
        assert words.values[words.offsets[i] : words.offsets[i + 1]].tolist() == w.words([text]).values.tolist()
    for row, digest in zip(rows, w.digests(rows), strict=True):
        assert digest.tolist() == w.digests([row])[0].tolist()


def test_batches_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"row {i} says hello to the world, wörld and 世界 {i * i}" for i in range(200)] + [""]

    def everything() -> list[list[int]]:
        sets, found = w.shingles(rows), w.words(rows)
        arrays = (sets.values, sets.offsets, found.values, found.offsets, w.digests(rows))
        return [array.tolist() for array in arrays]

    whole = everything()
    monkeypatch.setattr(w, "_BATCH", 100)
    assert everything() == whole


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "cc", "你", "7"]), max_size=30), st.integers(1, 8))
def test_grams_are_equal_where_the_words_are(row: list[str], width: int) -> None:
    made = w.grams(w.words([" ".join(row), "", " ".join(row[1:])]), width)
    count = max(0, len(row) - width + 1)
    assert np.diff(made.offsets).tolist() == [count, 0, max(0, max(len(row) - 1, 0) - width + 1)]
    plain = [tuple(row[i : i + width]) for i in range(count)]
    names = dict(zip(made.values[:count].tolist(), plain, strict=True))
    assert [names[v] for v in made.values[:count].tolist()] == plain
    assert len(names) == len(set(plain))
    assert made.values[count:].tolist() == made.values[1:count].tolist()


@pytest.mark.parametrize("kind", ["list", "polars", "arrow", "large", "chunked", "generator"])
def test_columns_are_taken_as_they_are(kind: str) -> None:
    rows = ["The quick brown fox jumps over", "", "你好 мир", "x"]
    null = [*rows[:2], None, *rows[2:]]
    given = {
        "list": null,
        "polars": pl.Series(null),
        "arrow": pa.array(null),
        "large": pa.array(null, pa.large_string()).slice(0, 5),
        "chunked": pa.chunked_array([null[:1], null[1:]], pa.string()),
        "generator": (row for row in null),
    }[kind]
    found, plain = w.shingles(given), w.shingles([row or "" for row in null])
    assert found.values.tolist() == plain.values.tolist()
    assert found.offsets.tolist() == plain.offsets.tolist()


@pytest.mark.parametrize("none", [[], pl.Series([], dtype=pl.String), pa.array([], pa.string())])
def test_no_texts(none: list[str]) -> None:
    assert w.shingles(none).offsets.tolist() == w.words(none).offsets.tolist() == [0]
    assert w.grams(w.words(none), 3).offsets.tolist() == [0]
    assert w.digests(none).shape == (0, 2)


def test_hashes_are_the_same_everywhere_and_always() -> None:
    # Stored shingles and digests are compared with new ones: these numbers change with `ALGORITHM` alone.
    assert w.words(["Hello 世"]).values.tolist() == [5522554751982609430, 18438877945661285860]
    assert w.shingles(["one two three four five six"]).values.tolist() == [1035253818628542400, 11585874454146542631]
    assert w.digests(["Hello \n World"])[0].tolist() == [3962367114643548393, 15437216628139348481]


def test_hashes_spread_and_do_not_collide() -> None:
    rows = [f"{a}{b}" for a in range(700) for b in "abcdefghijklmnopqrstuvwxyz"]
    rows += [chr(a) + chr(b) for a in range(97, 123) for b in range(97, 123)] + ["a" * n for n in range(1, 400)]
    values = np.unique(w.words(sorted(set(rows))).values)
    assert values.size == len(set(rows))
    bits = (values[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 0.02
    near = w.words(["words", "wordt"]).values
    assert 16 <= int(near[0] ^ near[1]).bit_count() <= 48
    slots = Counter((values >> np.uint64(57)).tolist())
    assert len(slots) == 128
    assert max(slots.values()) < 2 * len(values) / 128


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        ("Hello  World", " hello\n\tworld ", True),
        ("你好 世界", "你好世界", False),
        ("a\u200bb", "ab", True),
        ("1 2", "12", False),
        ("x" * 100_000, "X" * 100_000, True),
        ("a" * 70, "a" * 71, False),
    ],
)
def test_digests_fold_case_and_white_space(a: str, b: str, equal: bool) -> None:
    one, other = w.digests([a, b]).tolist()
    assert (one == other) is equal
    assert any(one)


def test_texts_without_tokens_have_no_digest() -> None:
    assert not w.digests(["", " ", "\n\u2028", "\u200b\ufeff"]).any()


@pytest.mark.parametrize("text", ["a b " * 50_000, "a" * 300_000, "你" * 100_000, " " * 200_000, "\u0301" * 50_000])
def test_monotonous_texts_take_no_longer(text: str) -> None:
    assert w.shingles([text]).offsets[-1] <= 2
    assert w.words([text]).offsets[-1] == len(w.word_spans(text))


@pytest.mark.parametrize("width", [0, -3])
def test_a_width_below_one_is_a_mistake(width: int) -> None:
    with pytest.raises(ValueError, match=f"grams of {width} words"):
        w.grams(w.words(["a b c"]), width)
