"""What the quality parts count, against plain Python that does the same slowly."""

import re
from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caravan.curate import phrases, tasks, text_kernels
from caravan.curate.exchanges import Exchanges, Texts, table
from caravan.curate.phrases import Phrases
from caravan.curate.quality_part import needs_naming
from caravan.plugins import find, load

PARTS = {n: part for n in find("quality_parts") if not needs_naming(part := load("quality_parts", n))}
CJK = "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
ODD = "abcZ019_ \n\t.,;éßİΣжи中文字のカ・한हि\u0301²½Ⅷ٣\u00a0\u3000\x1c\x1f\x85\u200b\ufeff😀\U00020000"
WORDS = [
    "basil",
    "Basilika",
    "water",
    "waters",
    "with",
    "about",
    "12",
    "1234567",
    "été",
    "窓辺の光",
    "a",
    "中",
    "\n",
    "-",
]
texts = st.one_of(
    st.text(st.one_of(st.sampled_from(ODD), st.characters(codec="utf-8")), max_size=80),
    st.lists(st.sampled_from(WORDS), max_size=120).map(" ".join),
    st.lists(st.sampled_from(WORDS[:3] + WORDS[-5:]), max_size=120).map("".join),
)


def stems(text: str) -> set[str]:
    lower = text.lower()[:2000]
    found = {word[:5] for word in re.findall(r"\d+|[^\W\d_]{4,}", lower)} - {w[:5] for w in phrases.COMMON.split()}
    return found | {run[i : i + 2] for run in re.findall(f"{CJK}+", lower) for i in range(len(run) - 1)}


def words(text: str) -> float:
    return len(text.split()) + len(re.findall(CJK, text)) / 1.6


@given(st.lists(texts))
@settings(max_examples=100, deadline=None)
def test_words_and_stems(rows: list[str]) -> None:
    found = Texts(pl.Series(rows, dtype=pl.String))
    assert found.words.tolist() == [words(text) for text in found.read.to_list()]
    assert np.diff(found.stems[1]).tolist() == [len(stems(text)) for text in found.read.to_list()]


@given(st.lists(st.tuples(texts, texts, st.booleans()), min_size=1))
@settings(max_examples=100, deadline=None)
def test_stems_in_common(rows: list[tuple[str, str, bool]]) -> None:
    prompts, answers = (Texts(pl.Series([row[side] for row in rows], dtype=pl.String)) for side in (0, 1))
    follows = np.array([i > 0 and row[2] for i, row in enumerate(rows)])
    size, common = np.zeros((2, len(rows)), np.int64)
    text_kernels.shared(*prompts.stems, *answers.stems, follows, size, common)
    asked, said = ([stems(text) for text in side.read.to_list()] for side in (prompts, answers))
    before = [asked[i - 1] | said[i - 1] if follows[i] else set() for i in range(len(rows))]
    assert size.tolist() == [len(a | b) for a, b in zip(asked, before, strict=True)]
    assert common.tolist() == [len((a | b) & s) for a, b, s in zip(asked, before, said, strict=True)]


@given(st.lists(texts))
@settings(max_examples=100, deadline=None)
def test_repeated_n_grams(rows: list[str]) -> None:
    lower, widths = pl.Series([text.lower() for text in rows], dtype=pl.String), np.array([1, 2, 5])
    units, dense = np.zeros((2, len(rows)), np.int64)
    most, kinds = np.zeros((2, len(rows), 3), np.int64)
    text_kernels.repeats(*text_kernels.joined(lower), table(), widths, units, dense, most, kinds)
    for i, text in enumerate(lower.to_list()):
        plain = re.findall(rf"{CJK}|(?:(?!{CJK})[^\W_])+", text)
        factor = 2 if sum(re.match(CJK, unit) is not None for unit in plain) * 2 > len(plain) else 1
        assert (units[i], dense[i]) == (len(plain), factor)
        for k, width in enumerate(widths.tolist()):
            n = width * factor
            grams = Counter(tuple(plain[j : j + n]) for j in range(len(plain) - n + 1))
            assert (most[i, k], kinds[i, k]) == (max(grams.values(), default=0), len(grams))


def news(asked: str, said: str) -> tuple[int, int]:
    """The greedy parse of an answer: the run from the last place that begins like it, or one character."""
    before, answer = (re.sub(r"[\t-\r ]+", " ", text).removeprefix(" ") for text in (asked, said))
    text, at, added, taken = before + answer, len(before), 0, 0
    while at < len(text):
        alone = re.match(CJK, text[at]) is not None
        begins = text[at : at + (4 if alone else 12)]
        earlier = text.rfind(begins, 0, at + len(begins) - 1) if len(begins) == (4 if alone else 12) else -1
        same = 0
        while earlier >= 0 and at + same < len(text) and text[earlier + same] == text[at + same]:
            same += 1
        taken, added, at = (taken + 1, added, at + same) if same else (taken, added + (3 if alone else 1), at + 1)
    return added, taken


@given(st.lists(st.tuples(texts, texts), min_size=1))
@settings(max_examples=150, deadline=None)
def test_what_was_not_said_before(rows: list[tuple[str, str]]) -> None:
    prompts, answers = (Texts(pl.Series([row[side] for row in rows], dtype=pl.String)) for side in (0, 1))
    added, taken = np.zeros((2, len(rows)), np.int64)
    text = (*text_kernels.joined(prompts.lower), *text_kernels.joined(answers.lower))
    text_kernels.news(*text, np.zeros(len(rows), np.bool_), table(), added, taken)
    for i, (asked, said) in enumerate(zip(prompts.lower, answers.lower, strict=True)):
        assert (added[i], taken[i]) == news(asked, said)


LISTS = [(phrases, name) for name in ("CLOSED", "BRIEF", "TRANSLATE")]
LISTS += [(part, name) for part in PARTS.values() for name, own in vars(part).items() if isinstance(own, Phrases)]
HINTED: list[Phrases | tasks.Rule] = [*(getattr(*one) for one in LISTS), *tasks.RULES]


@pytest.mark.parametrize("listed", HINTED, ids=[*(name for _, name in LISTS), *(rule.hints[0] for rule in tasks.RULES)])
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_whatever_a_pattern_finds_holds_a_hint(listed: Phrases | tasks.Rule, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(listed.pattern)).lower()
    if found := listed.pattern.search(text):
        if isinstance(listed, Phrases):
            assert listed.found(pl.Series([found[0]])).all()
        else:
            assert any(hint in found[0] for hint in listed.hints)


@given(st.lists(st.tuples(texts, texts), min_size=1))
@settings(max_examples=25, deadline=None)
def test_a_value_depends_on_its_exchange_alone(rows: list[tuple[str, str]]) -> None:
    def values(some: list[tuple[str, str]]) -> dict[str, list[float]]:
        prompts, answers = (Texts(pl.Series([row[side] for row in some], dtype=pl.String)) for side in (0, 1))
        exchanges = Exchanges(prompts, answers, np.zeros(len(some), np.bool_))
        return {name: part.score(exchanges).tolist() for name, part in PARTS.items()}

    together = values(rows)
    for i, row in enumerate(rows):
        assert values([row]) == {name: [column[i]] for name, column in together.items()}
