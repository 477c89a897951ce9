"""The language of a row: found where it can be, "und" where not."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from caravan.curate import detectors as detectors_module
from caravan.curate import text_kernels
from caravan.curate.detectors import detectors, normal_code, one_language_share
from caravan.curate.filters import language

Turn = tuple[str, str]


def frame(*rows: list[Turn]) -> pl.DataFrame:
    return pl.DataFrame(
        {"messages": [[{"role": r, "content": c} for r, c in row] for row in rows], "tags": ["{}"] * len(rows)},
        schema={"messages": pl.List(pl.Struct({"role": pl.String, "content": pl.String})), "tags": pl.String},
    )


def measure(*rows: list[Turn], expected: tuple[str, ...] = ("en",)) -> pl.DataFrame:
    return language.measure(frame(*rows), language.Settings(expected=expected))


def labels(*texts: str, expected: tuple[str, ...] = ("en",)) -> list[str]:
    return measure(*[[("assistant", text)] for text in texts], expected=expected)["language"].to_list()


SENTENCES = {
    "en": "When the rain had stopped, the children ran out to see whether the river had risen.",
    "fr": "Quand la pluie a cessé, les enfants sont sortis pour voir si la rivière avait monté.",
    "de": "Als der Regen aufgehört hatte, liefen die Kinder hinaus, um den Fluss zu sehen.",
    "es": "Cuando dejó de llover, los niños salieron corriendo para ver si el río había crecido.",
    "id": "Setelah hujan berhenti, anak-anak berlari keluar untuk melihat apakah sungai sudah naik.",
    "tr": "Yağmur dinince çocuklar ırmağın yükselip yükselmediğini görmek için dışarı koştular.",
    "vi": "Khi mưa tạnh, bọn trẻ chạy ra ngoài để xem nước sông có dâng lên hay không.",
    "fi": "Kun sade oli lakannut, lapset juoksivat ulos katsomaan, oliko joki noussut.",
    "no": "Da regnet hadde stoppet, løp barna ut for å se om elva hadde steget mye.",
    "ru": "Когда дождь прекратился, дети выбежали посмотреть, поднялась ли вода в реке.",
    "uk": "Коли дощ ущух, діти вибігли подивитися, чи піднялася вода в річці.",
    "ar": "عندما توقف المطر خرج الأطفال ليروا ما إذا كان النهر قد ارتفع.",
    "fa": "وقتی باران بند آمد، بچه‌ها بیرون دویدند تا ببینند آب رودخانه بالا آمده است یا نه.",
    "hi": "जब बारिश रुकी तो बच्चे यह देखने के लिए बाहर दौड़े कि नदी बढ़ी है या नहीं।",
    "th": "เมื่อฝนหยุดตก เด็กๆ ก็วิ่งออกไปดูว่าน้ำในแม่น้ำสูงขึ้นหรือไม่",
    "el": "Όταν σταμάτησε η βροχή, τα παιδιά έτρεξαν έξω να δουν αν είχε ανέβει το ποτάμι.",
    "he": "כשהגשם פסק, רצו הילדים החוצה לראות אם הנהר עלה.",
    "zh": "雨停了以后，孩子们跑出去看河水有没有上涨。",
    "ja": "雨がやむと、子どもたちは川の水が増えたかどうかを見に外へ走り出した。",
    "ko": "비가 그치자 아이들은 강물이 불었는지 보려고 밖으로 뛰어나갔다.",
}


def test_sentences_get_their_language() -> None:
    assert labels(*SENTENCES.values()) == list(SENTENCES)


CODE = """def fibonacci(n):
    if n < 2:
        return n
    return fibonacci(n - 1) + fibonacci(n - 2)

print(fibonacci(10))"""


@pytest.mark.parametrize(
    "text",
    [
        "Yes", "42", "", " \n\t", "Barack Obama", "True", "x^2 + 3x - 4 = 0", "def f(x): return x", "LOVE", CODE,
        f"```python\n{CODE}\n```", f"```\n{CODE}", "α + β = γ δ", "¯\\_(ツ)_/¯", "O(n log n)",
        "$$\\int_a^b f(x)\\,dx = F(b) - F(a)$$", "https://de.wikipedia.org/wiki/Wahrscheinlichkeitsrechnung",
        "const sum = items.reduce((a, b) => a + b, 0);\nconsole.log(sum);", "{\"stadt\": \"Berlin\", \"alter\": 34}",
        "SELECT name, age FROM customers WHERE country = 'Österreich';", "\ufffe\x00\x01\ufffd", "A) B) C)",
        "The quick brown fox jumps over the lazy dog", "PLEASE READ ALL OF THE INSTRUCTIONS BEFORE YOU START",
    ],
)  # fmt: skip
def test_what_says_nothing_of_its_language_is_never_foreign(text: str) -> None:
    assert labels(text)[0] in ("und", "en")
    assert kept(measure([("assistant", text)])) == [True]


def kept(measured: pl.DataFrame, **limits: object) -> list[bool]:
    return measured.select(r=language.verdict(language.Limits.model_validate(limits)))["r"].is_null().to_list()


@pytest.mark.parametrize(
    "words", ["guten Morgen", "Donaudampfschifffahrtsgesellschaft Jubiläumsfeier", "muchas gracias"]
)
def test_two_words_are_not_enough(words: str) -> None:
    assert labels(words) == ["und"]


def test_a_script_decides_from_four_letters_on() -> None:
    assert labels("你好", "你好世界", "こんにちは", "Привет мир") == ["und", "zh", "ja", "ru"]
    # a Chinese character carries as much as three Latin letters: names and terms do not outvote the sentence
    assert labels("使用 Python 和 TensorFlow 构建一个简单的神经网络模型") == ["zh"]
    assert labels("In Chinese the word for river is 河, and the word for sea is 海.") == ["en"]


def test_a_short_text_in_a_shared_script_is_what_was_expected() -> None:
    assert labels("Добрий день", expected=("uk",)) == ["uk"]


def test_the_row_decides_and_each_turn_has_its_flag() -> None:
    measured = measure(
        [("user", "Translate into French: " + SENTENCES["en"]), ("assistant", SENTENCES["fr"])],
        [("user", "Write a poem of many lines in French."), ("assistant", SENTENCES["fr"] * 5)],
        [("user", "Traduis en anglais : " + SENTENCES["fr"]), ("assistant", SENTENCES["en"])],
        [("user", SENTENCES["de"]), ("assistant", SENTENCES["de"])],
        [("system", SENTENCES["en"]), ("user", SENTENCES["es"]), ("assistant", SENTENCES["es"]), ("tool", "ok")],
    )
    assert measured["language"].to_list() == ["en", "en", "en", "de", "es"]
    assert measured["language_turns"].to_list() == [
        ["en", "fr"],
        ["en", "fr"],
        ["fr", "en"],
        ["de", "de"],
        ["en", "es", "es", "und"],
    ]
    assert kept(measured) == [True, True, True, False, False]
    assert measured["language_step"][1] == "side"


def test_a_mixed_thread_keeps_its_flags() -> None:
    thread = [
        ("user", SENTENCES["en"]),
        ("assistant", SENTENCES["en"]),
        ("user", SENTENCES["de"]),
        ("assistant", SENTENCES["de"]),
    ]
    row = measure(thread).row(0, named=True)
    assert row["language"] in ("en", "de")
    assert row["language_turns"] == ["en", "en", "de", "de"]


def test_the_first_detector_counts_whole_percents() -> None:
    """Else `one_language_share` never holds, and each row costs one more call."""
    words = SENTENCES["en"].split()
    texts = [" ".join((words * 20)[:n]) for n in (6, 8, 12, 16, 40, 200)]
    shares = pl.Series("text", texts).to_frame().select(one_language_share(pl.col("text"))).to_series()
    assert [detectors().first(text).score for text in texts] == shares.to_list()
    assert shares[0] < shares[-1] == 0.99


def test_turns_that_agree_decide_the_row() -> None:
    long, other = SENTENCES["en"], "Nobody in the village could remember when the old bridge had been built."
    agree = measure([("user", long), ("assistant", other), ("user", "Thanks, that helps.")]).row(0, named=True)
    assert (agree["language"], agree["language_step"], agree["language_score"]) == ("en", "expected", 0.99)
    assert agree["language_letters"] == sum(map(str.isalpha, long + other + "Thanks, that helps."))
    # but not against more letters of short turns, each too short to be told apart
    chat = ["Muy bien, gracias", "Me alegro mucho", "Hasta la vista", "Adios, amigo mio", "Buenas noches a ti"]
    short = [("user" if i % 2 else "assistant", text) for i, text in enumerate(chat * 2)]
    row = measure([("user", "Shall we meet at the station tomorrow?"), *short]).row(0, named=True)
    assert row["language_turns"] == ["en", *["und"] * 10]
    assert row["language"] == "es"


ASCII_ODD = "abXYZ019_ \n'`$~\\{}[]()<>=;:|,.!?-*#@/&%+"
OTHER_ODD = "éßſKΣαжи中文字のカ한हि\u093fไ²٣\u0301\u00a0\u3000\x1c\u200b\u200c\u200d’😀\U00020000"
PIECES = [
    "```",
    "$$",
    "\\(",
    "\\alpha",
    "www.a",
    "http://b.c",
    "a@b.co",
    "<p>",
    "&amp;",
    "for ",
    "print",
    "é1abc",
    "1b中",
    "α1",
]


@given(st.lists(st.one_of(st.sampled_from(ASCII_ODD + OTHER_ODD), st.sampled_from(PIECES)), max_size=60).map("".join))
@settings(max_examples=500, deadline=None)
def test_the_quick_way_to_letters_leaves_what_the_plain_one_leaves(text: str) -> None:
    texts = pl.Series([text])
    plain = texts.str.replace_all(language._CODE, " ").str.replace_all(r"[^\p{L}\p{M}'’\u200c]+", " ")
    assert language.letters_only(texts, 300).equals(plain.str.strip_chars(" '’\u200c").str.slice(0, 300))


@given(st.lists(st.text(st.one_of(st.sampled_from(ASCII_ODD + OTHER_ODD), st.characters(codec="utf-8")))))
@settings(max_examples=200, deadline=None)
def test_letters_and_scripts_are_counted_as_regular_expressions_count_them(rows: list[str]) -> None:
    texts = pl.Series(rows, dtype=pl.String)
    letters, scripts = np.zeros(len(rows), np.int64), np.zeros((len(rows), len(language._NUMBERED)), np.int64)
    text_kernels.census(*text_kernels.joined(texts), language._table(), letters, scripts)
    assert letters.tolist() == texts.str.count_matches(r"\p{L}").to_list()
    for number, script in enumerate(language._NUMBERED[1:], 1):
        assert scripts[:, number].tolist() == texts.str.count_matches(rf"\p{{{script}}}").to_list()


def test_limits() -> None:
    measured = measure(
        *[[("user", SENTENCES[c]), ("assistant", SENTENCES[c])] for c in ("en", "fr", "zh")], [("user", "ok")]
    )
    assert kept(measured) == [True, False, False, True]
    assert kept(measured, keep=["fr", "zh-Hant"]) == [False, True, True, True]
    assert kept(measured, keep="fr") == [False, True, False, True]
    assert kept(measured, keep=["*"]) == [True] * 4
    assert kept(measured, keep=[]) == [False, False, False, True]


@pytest.mark.parametrize("wrong", [["english"], ["un"], ["e1"], [""], 7, ["en", None]])
def test_what_is_no_language_code_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        language.Limits.model_validate({"keep": wrong})
    with pytest.raises(ValidationError):
        language.Settings.model_validate({"expected": wrong})


def test_codes_of_every_origin_become_one() -> None:
    given_codes = ["__label__de", "zh-Hant", "zh_CN", "iw", "nb", "sh", "jw", "fil", "ceb", "EN", "xx-Grek", "un"]
    assert [normal_code(c) for c in given_codes] == [
        "de", "zh", "zh", "he", "no", "sr", "jv", "tl", "ceb", "en", None, None,
    ]  # fmt: skip


def test_columns_and_empty_batches() -> None:
    measured = measure([], [("user", "hello there, how do you do today?")], [("system", "x")])
    assert dict(measured.schema) == language.COLUMNS
    assert measured["language_turns"].to_list() == [[], ["en"], ["und"]]
    assert language.measure(frame()[:0], language.Settings()).height == 0


def test_a_measure_does_not_depend_on_batch_order_or_limits() -> None:
    rows = [
        [("user", s), ("assistant", t)] for s in list(SENTENCES.values())[:6] for t in list(SENTENCES.values())[6:9]
    ]
    whole = measure(*rows)
    assert pl.concat([measure(row) for row in rows]).equals(whole)
    assert measure(*rows[::-1]).reverse().equals(whole)


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(["user", "assistant", "system"]), st.text(st.characters(codec="utf-8"))))
    )
)
@settings(max_examples=60, deadline=None)
def test_any_text_gets_a_label(rows: list[list[Turn]]) -> None:
    measured = measure(*rows)
    assert measured.height == len(rows)
    assert measured["language"].str.contains("^(und|[a-z]{2,3})$").all()
    assert measured["language_score"].is_between(0, 1).all()
    assert [len(x) for x in measured["language_turns"].to_list()] == [len(row) for row in rows]
    assert (
        measured["language_step"]
        .is_in(["empty", "script", "short", "expected", "second", "both", "sure", "doubt", "side"])
        .all()
    )


@given(st.text(st.characters(categories=["L", "M"]), min_size=20))
@settings(max_examples=100, deadline=None)
def test_detectors_survive_any_letters(text: str) -> None:
    pair = detectors()
    for guess in (pair.first(text), pair.second(text)):
        assert 0 <= guess.score <= 1
        assert guess.label != ""


def test_huge_texts_take_no_time() -> None:
    text = SENTENCES["fr"] * 40_000
    assert labels(text, "a" * 3_000_000, "$" * 1_000_000, "`" * 1_000_001, "<a" * 500_000)[0] == "fr"


def test_detectors_are_in_the_fingerprint() -> None:
    assert set(language.fingerprint(language.Settings())["detectors"]) >= {"lid.176.ftz", "fasttext-predict"}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("missing", "used"), [("pycld2", "lid.176.ftz"), ("fasttext", "pycld2"), ("both", "langdetect")]
)
def test_langdetect_stands_in_for_a_missing_detector(missing: str, used: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = ("pycld2", "fasttext") if missing == "both" else (missing,)
    monkeypatch.setattr(detectors_module, "find_spec", lambda name: None if name in gone else find_spec(name))
    detectors.cache_clear()
    try:
        assert set(detectors().versions) >= {used, "langdetect"}
        few = ("en", "fr", "de", "es", "id", "ru", "zh", "ja")
        assert labels(*[SENTENCES[c] for c in few]) == list(few)
        assert labels("42", "Yes", "LOVE", CODE, SENTENCES["en"]) == ["und", "und", "und", "und", "en"]
    finally:
        detectors.cache_clear()


def test_langdetect_is_seeded() -> None:
    text = "chat pain coin main four"  # words of two languages: unseeded, the answer changes from call to call
    assert len({detectors_module._langdetect(text) for _ in range(8)}) == 1


def words(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line]


@pytest.mark.real
def test_error_rates_on_real_sentences(real_data: Path) -> None:
    """Under 1% of English called foreign; at least 94% of texts of 40 letters in other languages found, pooled."""
    folder = real_data / "lang" / "lingua"
    found = total = 0
    for path in sorted((folder / "sentences").glob("*.txt")):
        lines = [s for s in words(path) if sum(map(str.isalpha, s)) >= 40]
        foreign = measure(*[[("assistant", s)] for s in lines]).filter(~pl.col("language").is_in(["en", "und"])).height
        if path.stem == "en":
            assert foreign / len(lines) < 0.01
        else:
            assert foreign / len(lines) > 0.85, path.stem
            found, total = found + foreign, total + len(lines)
    assert total > 15_000
    assert found / total >= 0.97

    for path in sorted((folder / "word-pairs").glob("*.txt")):
        pairs = words(path)
        if pairs[0].isascii():  # Latin script: two words are never enough
            assert all(kept(measure(*[[("assistant", s)] for s in pairs])))


@pytest.mark.real
def test_english_rows_stay(real_data: Path) -> None:
    rows: list[list[Turn]] = []
    for name in ("seed_tasks.jsonl", "user_oriented_instructions.jsonl"):
        for line in words(real_data / "self_instruct" / name):
            task = json.loads(line)
            prompt = task["instruction"]
            rows += [[("user", f"{prompt}\n{i['input']}"), ("assistant", i["output"])] for i in task["instances"]]
    assert len(rows) == 427
    assert kept(measure(*rows)).count(False) <= 1
    assert kept(measure(*[row[1:] for row in rows])).count(False) <= 4  # answers alone: 4 are in another language
