"""MGSM: native prompts, numbers in many scripts, one problem in eleven languages."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.errors import UserError
from caravan.eval.benchmark import RULES, SAMPLES, Answer, Item, Problem, Rules, Setting, Verdict
from caravan.eval.benchmarks import mgsm
from caravan.eval.scoring.han_numbers import read

EXAMPLES = '''"""Prompts."""
NUMBERS = [11, 29]
MGSM_EXEMPLARS = {
    "en": {"1": {"q": "Question: Two and two?", "a": "Step-by-Step Answer: 2 + 2 = 4. "
                                                      "The answer is 4."}},
    "de": {"1": {"q": "Frage: Zwei und zwei?",
                 "a": "Schritt-f\\u00fcr-Schritt-Antwort: 2 + 2 = 4. Die Antwort ist 4."}},
}
'''


def verdict(language: str, gold: str, said: str, protocol: Rules = "strict") -> Verdict:
    one = Problem(Item(f"{language}/0", "?", gold, language), (gold,))
    return mgsm.score(one, [Answer(said)], Setting("native", protocol))


def worth(language: str, gold: str, said: str, protocol: Rules = "strict") -> float:
    return verdict(language, gold, said, protocol).values["accuracy"]


def write(folder: Path, exemplars: str | None = None) -> Path:
    (folder / "mgsm_de.tsv").write_text("Wie viele?\t3\nWie wenige?\t2,125\n", encoding="utf-8")
    (folder / "mgsm_en.tsv").write_text("How many?\t3\nHow few?\t2,125\n", encoding="utf-8")
    if exemplars is not None:
        (folder / "exemplars.py").write_text(exemplars, encoding="utf-8")
    return folder


# Prompts


def test_a_row_is_one_cluster_across_the_languages(tmp_path: Path) -> None:
    found = list(mgsm.problems(write(tmp_path), "native"))
    assert [(p.item.id, p.cluster) for p in found] == [
        ("de/0", "row 0"),
        ("de/1", "row 1"),
        ("en/0", "row 0"),
        ("en/1", "row 1"),
    ]


def test_questions_have_the_labels_of_their_language() -> None:
    asked = {p.item.group: mgsm.ask(p, Setting("native")) for p in mgsm.problems(SAMPLES / "mgsm", "native")}
    assert asked["de"].text.startswith("Frage: ")
    assert (asked["fr"].ending, asked["fr"].opener) == ("\nRéponse étape par étape :", "Réponse étape par étape :")
    assert asked["ru"].stop == ("\nЗадача:",)
    (note,) = mgsm.notes(SAMPLES / "mgsm", "native")
    assert note.startswith("asked without examples in de, en, es, fr, ru")


def test_examples_are_read_as_data(tmp_path: Path) -> None:
    found = list(mgsm.problems(write(tmp_path, EXAMPLES), "native"))
    asked = mgsm.ask(found[0], Setting("native", "tulu"))
    assert asked.text + asked.ending == (
        "Frage: Zwei und zwei?\nSchritt-für-Schritt-Antwort: 2 + 2 = 4. Die Antwort ist 4.\n\n"
        "Frage: Wie viele?\nSchritt-für-Schritt-Antwort:"
    )
    assert (asked.stop, asked.chat_stop) == (("\n",), ())
    assert mgsm.notes(tmp_path, "native") == []


@pytest.mark.parametrize(
    "program",
    [
        "import os\nMGSM_EXEMPLARS = dict(en=os.mkdir('made'))",
        "MGSM_EXEMPLARS = {'en': {'1': {'q': open('made', 'w'), 'a': ''}}}",
        "MGSM_EXEMPLARS = {'en': {'1': {'q': 5, 'a': ''}}}",
        "MGSM_EXEMPLARS = {'en': {'1': {'q': ''}}}",
        "MGSM_EXEMPLARS = {'en': 'all'}",
        "MGSM_EXEMPLARS = ",
        "A = {}\nB = {}",
        "",
        "A = " + "[" * 1000 + "]" * 1000,
    ],
)
def test_examples_are_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"exemplars\.py: not one table of examples by language"):
        list(mgsm.problems(write(tmp_path, program), "native"))
    assert not (tmp_path / "made").exists()


# Numbers


@pytest.mark.parametrize(
    ("language", "gold", "said"),
    [
        ("en", "2,125", "The answer is 2125."),
        ("en", "2,125", "The answer is $2,125.00."),
        ("bn", "2,125", "উত্তর হল ২,১২৫।"),
        ("bn", "276,000", "তার ২,৭৬,০০০ টাকা আছে। উত্তর হল ২,৭৬,০০০।"),
        ("te", "12", "3 + 9 = 12. సమాధానం ౧౨."),
        ("th", "12", "ดังนั้น 3 + 9 = 12 คำตอบคือ ๑๒"),
        ("de", "2,125", "Die Antwort ist 2.125."),
        ("de", "2,125", "Die Antwort ist 2.125,00 €."),
        ("de", "2,125", "Die Antwort ist 2,125."),
        ("es", "114,200", "La respuesta es 114.200."),
        ("es", "114,200", "La respuesta es 114 200."),
        ("fr", "114,200", "La réponse est 114\u202f200 euros."),
        ("ru", "114,200", "Ответ — 114 200."),
        ("ru", "-8", "Ответ: −8"),
        ("sw", "11", "Jibu ni 11."),
        ("sw", "11", "Jibu la Hatua kwa Hatua: 5 + 1 = 6. 6 + 5 = 11."),
        ("th", "11", "คำตอบทีละขั้นตอน: 5 + 1 = 6 แล้ว 6 + 5 = 11"),
        ("ja", "11", "5+6=11。答えは11です。"),
        ("ja", "11", "答えは十一です。"),
        ("ja", "35000", "答えは3万5000円です。"),
        ("zh", "11", "答案是 11。"),
        ("zh", "320", "一共有很多，答案是：三百二十。"),
        ("zh", "12000", "答案是1.2万。"),
        ("zh", "12", "一共是 12 个，第一天吃了一些。"),
        ("zh", "12", "答案是１２。"),
        ("de", "11", "The answer is 11."),
        ("hi", "११", "The answer is ११."),
    ],
)
def test_strict_reads_numbers_of_a_language(language: str, gold: str, said: str) -> None:
    assert worth(language, gold, said) == 1.0


@pytest.mark.parametrize(
    ("language", "gold", "said"),
    [
        ("de", "25", "Die Antwort ist 2,5."),
        ("de", "125", "Die Antwort ist 0,125."),
        ("en", "2125", "The answer is 2.125."),
        ("ja", "5", "答えは十五です。"),
        ("zh", "5000", "答案是3万5000。"),
    ],
)
def test_strict_is_not_fooled(language: str, gold: str, said: str) -> None:
    found = verdict(language, gold, said)
    assert (found.status, found.values["accuracy"]) == ("scored", 0.0)


def test_original_and_tulu_read_ascii_digits() -> None:
    assert worth("de", "2,125", "Die Antwort ist 2,125.", "original") == 1.0
    assert worth("de", "2,125", "Die Antwort ist 2.125.", "original") == 0.0
    assert worth("de", "2,125", "Die Antwort ist 2.125.", "tulu") == 1.0  # punctuation goes
    assert worth("de", "18", "Die Antwort ist 18,00.", "tulu") == 0.0
    assert verdict("bn", "12", "উত্তর হল ১২।", "original").status == "unextractable"


def test_failed_empty_and_unreadable_answers() -> None:
    one = Problem(Item("zh/0", "?", "3", "zh"), ("3",))
    for rules in RULES:
        failed = mgsm.score(one, [Answer(ended="failed", error="x")], Setting("native", rules))
        assert failed.status == "failed"
    assert verdict("zh", "3", "").status == "empty"
    assert verdict("zh", "3", "我不知道").status == "unextractable"


@pytest.mark.parametrize(
    ("characters", "digits"),
    [
        ("十", "10"),
        ("二十", "20"),
        ("三百二十", "320"),
        ("一千零五", "1005"),
        ("一〇五", "105"),
        ("两百", "200"),
        ("十万", "100000"),
        ("一亿二千万", "120000000"),
        ("三万亿", "3000000000000"),
        ("3万5千", "35000"),
        ("万", ""),
        ("九" * 100, ""),
    ],
)
def test_numbers_in_characters(characters: str, digits: str) -> None:
    assert read(characters) == digits


@given(
    st.text(alphabet="答案是答えは一二十百千万亿12,. ：Antwort", max_size=40), st.sampled_from(sorted(mgsm.LANGUAGES))
)
def test_any_text_gets_a_verdict(said: str, language: str) -> None:
    for rules in RULES:
        assert verdict(language, "12", said, rules).status in ("scored", "unextractable", "empty")


@pytest.mark.real
def test_every_real_answer_is_read_after_the_mark_of_its_language(real_data: Path) -> None:
    ends = {
        "bn": "উত্তর হল {}।",
        "de": "Die Antwort ist {}.",
        "en": "The answer is {}.",
        "es": "La respuesta es {}.",
        "fr": "La réponse est {}.",
        "ja": "答えは{}です。",
        "ru": "Ответ — {}.",
        "sw": "Jibu ni {}.",
        "te": "సమాధానం {}.",
        "th": "คำตอบคือ {}",
        "zh": "答案是 {}。",
    }
    found = list(mgsm.problems(real_data / "benchmarks" / "mgsm", "native"))
    assert len(found) == 2750
    assert {len({p.cluster for p in found if p.item.group == language}) for language in ends} == {250}
    golds = {language: [p.item.answer for p in found if p.item.group == language] for language in ends}
    assert all(own == golds["en"] for own in golds.values())
    for one in found:
        said = "2 + 7 = 9. " + ends[one.item.group].format(one.item.answer)
        for rules in RULES:
            value = mgsm.score(one, [Answer(said)], Setting("native", rules)).values["accuracy"]
            assert value == 1.0, (one.item.id, rules)
