"""F1, exact match and recall: SQuAD 1.1 to the letter, and the strict rule where that one errs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.eval.scoring import squad

ANSWERS = st.text(alphabet=st.characters(codec="utf-8"), max_size=30)


def strict(said: str, *golds: str, english: bool = False) -> tuple[float, float, float]:
    found = squad.strict(said, golds, english=english)
    return found["f1"], found["exact_match"], found["recall"]


def published(said: str, *golds: str) -> tuple[float, float, float]:
    found = squad.published(said, golds)
    return found["f1"], found["exact_match"], found["recall"]


@pytest.mark.parametrize(
    ("said", "gold", "f1", "exact"),
    [
        ("The Eiffel Tower!", "eiffel tower", 1.0, 1.0),
        ("in 1957", "1957", 2 / 3, 0.0),
        ("the cat sat on the mat", "cat on mat", 2 * 3 / (4 + 3), 0.0),  # cat sat on mat: 3 of 4, 3 of 3
        ("a b b c", "b b b", 2 * 2 / (3 + 3), 0.0),  # the article a is gone; two of the three b
        ("no word in common", "1957", 0.0, 0.0),
        ("", "1957", 0.0, 0.0),
        ("1.5", "15", 1.0, 1.0),  # punctuation is deleted
        ("-3", "3", 1.0, 1.0),
        ("U.S.", "US", 1.0, 1.0),
        ("1902–1957", "1902-1957", 0.0, 0.0),  # only ASCII punctuation is
        ("নদী।", "নদী", 0.0, 0.0),
        ("«Пётр»", "Пётр", 0.0, 0.0),
        ("an der Elbe", "der Elbe", 1.0, 1.0),  # English articles, whatever the language
    ],
)
def test_squad_1_1_by_hand(said: str, gold: str, f1: float, exact: float) -> None:
    assert published(said, gold)[:2] == pytest.approx((f1, exact))


@pytest.mark.parametrize(
    ("said", "gold", "f1", "exact"),
    [
        ("in 1957", "1957", 2 / 3, 0.0),
        ("1.5", "15", 0.0, 0.0),
        ("1.5.", "1.5", 1.0, 1.0),
        ("-3", "3", 0.0, 0.0),
        ("−3", "-3", 1.0, 1.0),
        ("«-3»", "-3", 1.0, 1.0),
        ("pages 3-5", "3 5", 0.8, 0.0),
        ("1902–1957", "1902-1957", 1.0, 1.0),
        ("12:30", "1230", 0.0, 0.0),
        ("নদী।", "নদী", 1.0, 1.0),
        ("«Пётр»", "пётр", 1.0, 1.0),
        ("¿Qué?", "qué", 1.0, 1.0),
        ("an der Elbe", "der Elbe", 0.8, 0.0),
        ("Cafe\u0301", "CAFÉ", 1.0, 1.0),  # composed and not
        ("한국", "한국", 1.0, 1.0),  # the same in jamo
        ("STRASSE", "Straße", 1.0, 1.0),
        ("10²", "102", 0.0, 0.0),
        ("ab\u200dc\u200f", "abc", 1.0, 1.0),
        ("5 $", "5", 2 / 3, 0.0),
        ("東京都", "東京", 0.8, 0.0),  # each character is a word
        ("ไทย", "ไทย", 1.0, 1.0),
        ("తెలుగు భాష", "తెలుగు", 2 / 3, 0.0),  # vowel signs do not part words
    ],
)
def test_strict_by_hand(said: str, gold: str, f1: float, exact: float) -> None:
    assert strict(said, gold)[:2] == pytest.approx((f1, exact))


def test_articles_go_in_english_alone() -> None:
    assert strict("the harbour", "harbour", english=True) == (1.0, 1.0, 1.0)
    assert strict("the harbour", "harbour") == pytest.approx((2 / 3, 0.0, 1.0))
    assert strict("a", "the", english=True) == (0.0, 0.0, 0.0)


def test_the_best_right_answer_counts_for_each_figure() -> None:
    assert published("in July", "July to October", "July") == pytest.approx((2 / 3, 0.0, 1.0))
    assert strict("in July", "July to October", "July") == pytest.approx((2 / 3, 0.0, 1.0))
    assert strict("July", "July to October", "July") == (1.0, 1.0, 1.0)


def test_recall_finds_letters_as_published_and_words_by_strict() -> None:
    assert published("it was 1957", "195")[2] == 1.0
    assert strict("it was 1957", "195")[2] == 0.0
    assert strict("it was in May 1957.", "may 1957")[2] == 1.0
    assert strict("May, and not 1957", "may 1957")[2] == 0.0


def test_a_right_answer_without_words_is_compared_as_it_is() -> None:
    assert strict("?", "?") == (1.0, 1.0, 1.0)
    assert strict("!", "?") == (0.0, 0.0, 0.0)
    assert published("?", "?")[:2] == (0.0, 1.0)  # SQuAD's script: no words in common, yet the same


@given(ANSWERS, ANSWERS, st.booleans())
def test_figures_are_shares_alike_from_both_sides_and_whole_for_the_same(a: str, b: str, english: bool) -> None:
    one, other = squad.words(a, english=english), squad.words(b, english=english)
    assert 0.0 <= squad.f1(one, other) == squad.f1(other, one) <= 1.0
    assert squad.f1(one, one) == float(bool(one))
    for rule in (squad.published(a, [b]), squad.strict(a, [b], english=english)):
        assert all(0.0 <= value <= 1.0 for value in rule.values())
    if a.strip():
        assert squad.strict(a, [b, a], english=False) == {"f1": 1.0, "exact_match": 1.0, "recall": 1.0}


@given(ANSWERS)
def test_words_read_again_are_the_same(answer: str) -> None:
    once = squad.words(answer, english=False)
    assert squad.words(" ".join(once), english=False) == once
