"""The language of a row: found where it can be, "und" where not."""

import json
import re
import sys
from importlib import invalidate_caches
from importlib.metadata import version
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
from caravan.curate.build import MixResult, build_mix
from caravan.curate.detectors import detectors, normal_code, one_language_share
from caravan.curate.explain import explain
from caravan.curate.filters import language
from caravan.curate.measure import active_filters, plan
from caravan.curate.options import recipe_from
from caravan.curate.recipe import Recipe
from caravan.curate.single import gather_data

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


FRENCH = "Les boulangers du village ouvrent leurs portes bien avant le lever du soleil."
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


TWO_WORDS = [
    "guten Morgen", "Donaudampfschifffahrtsgesellschaft Jubiläumsfeier", "muchas gracias", "cảm ơn", "Привет мир",
    "Здравствуйте, товарищи!", "Добрий день", "Ευχαριστώ πολύ", "صباح الخير", "خیلی ممنون", "שלום עליכם", "बहुत धन्यवाद",
    "অনেক ধন্যবাদ", "மிக்க நன்றி", "ధన్యవాదాలు మిత్రమా", "ತುಂಬಾ ಧನ್ಯವಾದಗಳು", "വളരെ നന്ദി", "ખૂબ આભાર", "ਬਹੁਤ ਧੰਨਵਾਦ",
    "из-за дождя", "рок-н-ролл концерт", "А.С. Пушкин", "צה״ל מודיע", "нарва-йыэсуу", "და-ძმა მოვიდა",
    "ඔබට ස්තූතියි", "დიდი მადლობა", "Շատ շնորհակալություն", "በጣም አመሰግናለሁ", "안녕하세요 여러분", "감사합니다",
    "ᐊᔾᔨᐅᖃᑎᒌᒃᖢᑎᒃ ᐃᓱᒪᕐᓱᕐᖢᑎᒃ",
    # written without blanks, or with blanks between phrases
    "你好", "你好世界", "早上好", "计算机科学", "画蛇添足，守株待兔", "こんにちは", "ありがとうございます",
    "東京ディズニーランド",
    "コンピューター プログラミング", "สวัสดีครับ", "ขอบคุณมาก", "ตำบลกมลา ผลการส่งข้อมูลในระบบ", "ຂອບໃຈຫຼາຍໆ",
    "សូមអរគុណ", "ကျေးဇူးတင်ပါတယ်", "བཀྲ་ཤིས་བདེ་ལེགས།",
]  # fmt: skip


@pytest.mark.parametrize("words", TWO_WORDS)
def test_two_words_of_any_script_are_not_enough(words: str) -> None:
    assert labels(words) == ["und"]
    assert kept(measure([("assistant", words)], [("user", words)])) == [True, True]


BLANKS = [code for code in SENTENCES if code not in ("zh", "ja", "th")]


@given(st.sampled_from(BLANKS), st.integers(0, 30), st.integers(0, 30), st.sampled_from([" ", ", ", "\n", " – ", "! "]))
@settings(max_examples=150, deadline=None)
def test_any_two_words_of_a_sentence_stay(code: str, first: int, second: int, between: str) -> None:
    words = re.findall(r"[^\W\d_][\w\u0300-\u036f\u0900-\u0dff\u200c]*", SENTENCES[code])
    pair = between.join((words[first % len(words)], words[second % len(words)]))
    assert labels(pair) == ["und"]


def test_from_three_words_on_a_script_decides() -> None:
    assert labels("好，好，好", "早上好，你好，再见", "今天天气非常好啊我们") == ["und", "zh", "zh"]
    assert labels("Привет, дорогой мир", "나는 학교에 간다", "Он живёт в Нарве") == ["ru", "ko", "ru"]
    # a Chinese character carries as much as three Latin letters: names and terms do not outvote the sentence
    assert labels("使用 Python 和 TensorFlow 构建一个简单的神经网络模型") == ["zh"]
    assert labels("In Chinese the word for river is 河, and the word for sea is 海.") == ["en"]


def test_two_words_beside_a_prompt_are_judged_with_it() -> None:
    long = "Wie heißt der Gruß, mit dem man am Morgen seine Nachbarn auf der Straße empfängt?"
    measured = measure(
        [("user", "What do people in Moscow say when they meet a friend?"), ("assistant", "Привет, друг")],
        [("user", long), ("assistant", "guten Morgen")],
        [("user", "朋友们在早上见面的时候一般会说些什么？"), ("assistant", "早上好")],
        [("user", "Привет, друг"), ("assistant", "Добрый день")],
    )
    assert measured["language"].to_list() == ["en", "de", "zh", "ru"]
    assert measured["language_turns"].to_list() == [["en", "und"], ["de", "und"], ["zh", "und"], ["und", "und"]]


def test_a_short_text_in_an_expected_script_vouches_for_its_row() -> None:
    rows = [
        [("user", "请翻译成法语。"), ("assistant", SENTENCES["fr"])],
        [("user", "Переклади це"), ("assistant", FRENCH)],
    ]
    assert measure(*rows)["language"].to_list() == ["fr", "fr"]
    assert measure(rows[0], expected=("zh",))["language"].to_list() == ["zh"]
    assert measure(rows[1], expected=("uk", "en"))["language"].to_list() == ["uk"]


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
    plain = texts.str.replace_all(language._CODE, " ").str.replace_all(rf"[^{language._KEPT}]+", " ")
    left = language.letters_only(texts, 300).str.replace_all("-", " ", literal=True)  # signs within words
    assert left.equals(plain.str.strip_chars(" '’\u200c").str.slice(0, 300))


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


# Texts of which a rule of words, letters or detectors alone would think wrongly.
ENGLISH_AND_ODD = {
    "Pig Latin": "Ellohay everyoneyay, isthay isyay ay ongersay exttay inyay Igpay, ichwhay ildrenchay eakspay.",
    "Shakespeare": "Shall I compare thee to a summer's day? Thou art more lovely and more temperate in thy ways.",
    "chat": "lol idk bro gonna grab some food rn brb wanna come w me or nah",
    "mistyped": "Teh qiuck borwn fox jmups oevr teh lzay dgo adn runs awya form teh huonds",
    "shouting": "THIS IS AN IMPORTANT NOTICE TO ALL MEMBERS OF THE CLUB ABOUT THE MEETING ON FRIDAY",
    "emoji": "I love this so much 😍😍😍 can't wait to see you all again 🎉🎉",
    "names": "John Smith, Maria Garcia, Wei Zhang, Aisha Khan, Pierre Dubois, Yuki Tanaka, Olga Ivanova",
    "composers": "Johann Sebastian Bach, Ludwig van Beethoven, Georg Friedrich Händel, Robert Schumann",
    "bacteria": "Escherichia coli, Staphylococcus aureus, Bacillus subtilis, Drosophila melanogaster",
    "French dishes": "Serve the coq au vin with pommes dauphinoise, then a tarte tatin with crème fraîche.",
    "dishes": "Sushi, Ramen, Tempura, Okonomiyaki, Takoyaki, Udon, Soba, Sashimi, Onigiri",
    "base64": "SGVsbG8gd29ybGQs IHRoaXMgaXMgYSB0 ZXN0IG9mIGJhc2Ug NjQgZW5jb2Rpbmcg d2l0aCBzb21lIGxldHRlcnM",
    "DNA": "ATGGCCATTGTAATGGGCCGCTGAAAGGGTGCCCGATAG ATGCCGTAA GGCATTACG TTAGC",
    "a protein": "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQFEVV",
    "SMILES": "CC(=O)OC1=CC=CC=C1C(=O)O CN1C=NC2=C1C(=O)N(C(=O)N2C)C CC(C)CC1=CC=C(C=C1)C(C)C(=O)O",
    "TeX": "\\begin{align} x &= a + b \\\\ y &= \\frac{c}{d} \\end{align} \\sum_{i=1}^{n} \\alpha_i \\mathrm{ist}",
    "a table": "<table><tr><th>Name</th><th>Alter</th></tr><tr><td>Hans</td><td>34</td></tr></table>",
    "Roman numerals": "I II III IV V VI VII VIII IX X XI XII XIII XIV XV XVI XVII XVIII XIX XX XXI",
    "chess": "1. e4 e5 2. Nf3 Nc6 3. Bb5 a6 4. Ba4 Nf6 5. O-O Be7 6. Re1 b5 7. Bb3 d6",
    "letters": "asdf qwer zxcv uiop hjkl bnm fghj rtyu vbnm",
    "a cipher": "Uryyb, zl anzr vf Wbua naq V yvxr gb rng nccyrf naq onananf rirel qnl.",
    "look-alike letters": "Тhе quiсk brоwn fох jumрs оvеr thе lаzу dоg аnd runs аwау",
    "full-width letters": "Ｔｈｅ ｒａｉｎ ｉｎ Ｓｐａｉｎ ｓｔａｙｓ ｍａｉｎｌｙ ｉｎ ｔｈｅ ｐｌａｉｎ",
    "bold letters": "𝐓𝐡𝐢𝐬 𝐢𝐬 𝐛𝐨𝐥𝐝 𝐭𝐞𝐱𝐭 𝐰𝐫𝐢𝐭𝐭𝐞𝐧 𝐰𝐢𝐭𝐡 𝐦𝐚𝐭𝐡 𝐥𝐞𝐭𝐭𝐞𝐫𝐬",
    "small capitals": "ᴛʜɪs ɪs ᴀ ʟᴏɴɢ ᴘɪᴇᴄᴇ ᴏғ ᴛᴇxᴛ ɪɴ sᴍᴀʟʟ ᴄᴀᴘɪᴛᴀʟs, ᴡʜɪᴄʜ sᴏᴍᴇ ᴘᴇᴏᴘʟᴇ ʟɪᴋᴇ",
    "sounds": "/ðə kwɪk braʊn fɒks dʒʌmps oʊvə ðə leɪzi dɒɡ ænd rʌnz əweɪ frəm ðə haʊndz/",
}


@pytest.mark.parametrize("name", ENGLISH_AND_ODD)
def test_what_is_english_or_of_no_language_stays(name: str) -> None:
    assert labels(ENGLISH_AND_ODD[name])[0] in ("en", "und")


FOREIGN_AND_ODD = {
    "de": "DIES IST EINE WICHTIGE MITTEILUNG AN ALLE MITGLIEDER DES VEREINS ÜBER DIE SITZUNG AM FREITAG",
    "fr": "Pouvez vous m'expliquer comment preparer l'examen et quels livres sont necessaires ?",
    "es": "El nino comio la manzana verde por la tarde y despues salio a jugar al jardin con su perro.",
    "tr": "Yarin sabah erkenden kalkip okula gidecegim, sonra arkadaslarimla futbol oynayacagiz.",
    "vi": "Hom nay troi dep qua, chung ta cung di dao cong vien roi ve nha an com toi nhe.",
    "ru": "ЭТО ВАЖНОЕ ОБЪЯВЛЕНИЕ ДЛЯ ВСЕХ ЧЛЕНОВ КЛУБА",
    "la": "Gallia est omnis divisa in partes tres, quarum unam incolunt Belgae, aliam Aquitani, tertiam qui ipsorum.",
    "eo": "Hodiaŭ mi iris al la merkato por aĉeti fruktojn kaj legomojn, sed la vendejo estis fermita.",
    "cy": "Genir pawb yn rhydd ac yn gydradd â'i gilydd mewn urddas a hawliau.",
    "zu": "Bonke abantu bazalwa bekhululekile belingana ngesithunzi nangamalungelo abo.",
    "bo": "འགྲོ་བ་མིའི་རིགས་རྒྱུད་ཡོངས་ལ་སྐྱེས་ཙམ་ཉིད་ནས་ཆེ་མཐོངས་དང་། ཐོབ་ཐང་གི་རང་དབང་འདྲ་མཉམ་དུ་ཡོད་ལ།",
    "km": "មនុស្សទាំងអស់កើតមកមានសេរីភាព និងភាពស្មើៗគ្នាក្នុងសិទ្ធិ និងសេចក្ដីថ្លៃថ្នូរ។",
    "my": "လူတိုင်းသည် တူညီ လွတ်လပ်သော ဂုဏ်သိက္ခာဖြင့် လည်းကောင်း၊ မွေးဖွားလာသူများ ဖြစ်သည်။",
    "am": "የሰው ልጅ ሁሉ ሲወለድ ነጻና በክብርና በመብትም እኩልነት ያለው ነው",
    "chr": "ᏂᎦᏓ ᎠᏂᏴᏫ ᏂᎨᎫᏓᎸᎾ ᎠᎴ ᎤᏂᏠᏱ ᎤᎾᏕᎿ ᏚᏳᎧᏛ ᎨᏒᎢ",
    "zgh": "ⵎⴰⵕⵕⴰ ⵉⵎⴷⴰⵏⵏ ⴰⵔ ⵜⵜⵍⴰⵍⴰⵏ ⵙ ⵜⵍⴻⵍⵍⵉ ⵎⴳⴰⴷⴷⴰⵏ",
    "nqo": "ߡߊ߲߬ߞߊ߲ ߠߎ߬ ߓߍ߯ ߡߏߦߌߣߍ߲߫ ߦߋ߫ ߤߙߐߦߊ ߟߋ߬ ߘߐ߫",
}


@pytest.mark.parametrize("code", FOREIGN_AND_ODD)
def test_other_languages_are_found_in_capitals_without_accents_and_in_rare_scripts(code: str) -> None:
    assert labels(FOREIGN_AND_ODD[code]) == [code]


@pytest.mark.parametrize(
    "text",
    [
        "Mujhe lagta hai ki kal baarish hogi, isliye hum ghar par hi rahenge aur chai piyenge.",
        "Ana bahib arooh el bahr ma3 as7abi fel seif 3ashan el gaw beyb2a 7elw awy.",
        "Segodnya ya poydu v magazin, potomu chto doma net khleba i moloka, a potom budu chitat knigu.",
    ],
)
def test_languages_out_of_their_script_stay(text: str) -> None:
    """No detector knows them: they cannot be told from a list of names."""
    assert labels(text) == ["und"]


def test_code_with_comments_is_what_its_prompt_is() -> None:
    code = "# Berechnet die Summe aller geraden Zahlen in der Liste\ndef summe(liste):\n    return sum(liste)"
    english = "Comment this function in German, line by line."
    assert measure([("user", english), ("assistant", code)])["language"].to_list() == ["en"]
    assert measure([("user", english), ("assistant", f"```python\n{code}\n```")])["language"].to_list() == ["en"]


def test_what_the_detectors_said_is_kept() -> None:
    measured = measure(
        [("user", SENTENCES["en"])],
        [("user", SENTENCES["de"])],
        [("user", SENTENCES["ru"])],
        [("user", SENTENCES["el"])],
        [("user", "Translate: " + SENTENCES["en"]), ("assistant", SENTENCES["fr"] * 3)],
        [("user", "ok")],
    )
    said = measured.select("language_step", "language_first", "language_second").rows()
    assert said == [
        ("expected", "en", None),
        ("both", "de", "de"),
        ("script", "ru", "ru"),
        ("script", None, None),  # Greek is of one language
        ("side", "fr", "fr"),
        ("short", None, None),
    ]
    for nth in ("first", "second"):
        label, score = measured[f"language_{nth}"], measured[f"language_{nth}_score"]
        assert label.is_null().equals(score.is_null(), check_names=False)
        assert score.drop_nulls().is_between(0.2, 1).all()


def mixture(tmp_path: Path, name: str | None = None, **tables: object) -> MixResult:
    """Two sources of the same rows: English, French, two French words."""
    rows = [{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a in ROWS]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    sources = {
        "flan": {"paths": [str(path)], "converter": "messages", "filters": {"language": {"keep": ["*"]}}},
        "other": {"paths": [str(path)], "converter": "messages"},
    }
    table = {"sources": sources, "use": ["language"], **tables}
    return build_mix(Recipe.model_validate(table), out=tmp_path / (name or "mix"))


ROWS = [
    (SENTENCES["en"], "Yes, and the water stood higher than anyone had expected."),
    (SENTENCES["fr"], FRENCH),
    (f"Translate into French: {SENTENCES['en']}", SENTENCES["fr"]),
    ("Bonjour", "Bonne nuit"),
]


def test_a_source_keeps_its_own_languages_and_explain_says_what_was_heard(tmp_path: Path) -> None:
    result = mixture(tmp_path)
    fates = result.ledger.sort("source", "row").select("source", "row", "fate", "reason").rows()
    dropped = [(source, row) for source, row, fate, _ in fates if fate == "dropped"]
    assert dropped == [("other", 2)]
    found, _ = explain("rows.jsonl:2", tmp_path / "mix")
    (gone,) = [one for one in found if one.row["fate"] == "dropped"]
    assert (gone.evidence["language"]["language_first"], gone.measures["language_second"]) == ("fr", "fr")
    assert gone.measures["language_second_score"] > 0.7
    record = result.manifest.model_dump()["filters"][0]
    assert record["overrides"]["flan"]["keep"] in (("*",), ["*"])
    assert set(record["fingerprint"]["detectors"]) >= {"pycld2", "lid.176.ftz"}


def test_the_shipped_recipe_keeps_every_language_of_flan() -> None:
    (active,) = [one for one in active_filters(recipe_from("tulu")) if one.name == "language"]
    measured = measure([("user", SENTENCES["fr"]), ("assistant", FRENCH)])
    said = [measured.select(r=language.verdict(limits))["r"][0] for limits in (active.limits, active.overrides["flan"])]
    assert said == ["language", None]


def test_other_detectors_are_other_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their names and versions are part of what a stored measure is named by."""
    filters = active_filters(Recipe.model_validate({"use": ["language"]}))
    _, first = plan({"examples-a.parquet": 4}, filters)
    with monkeypatch.context() as patch:
        patch.setattr(detectors_module, "find_spec", lambda name: None if name == "pycld2" else find_spec(name))
        detectors.cache_clear()
        _, second = plan({"examples-a.parquet": 4}, filters)
    detectors.cache_clear()
    assert first != second
    assert plan({"examples-a.parquet": 4}, filters)[1] == first


def test_whoever_keeps_other_languages_keeps_them() -> None:
    codes = list(SENTENCES)
    rows = [[("user", SENTENCES[code]), ("assistant", SENTENCES[code])] for code in codes]
    for keep in (("de", "en"), ("zh",), ("uk",), ("ja", "ko"), ("fr",)):
        said = kept(measure(*rows, expected=keep), keep=list(keep))
        assert [code for code, stays in zip(codes, said, strict=True) if stays] == [c for c in codes if c in keep]
    # short prompts in a script that an expected language shares with others do not vouch for a row
    others = [
        [("user", "Привет, как дела?"), ("assistant", SENTENCES["ru"])],
        [("user", "孩子们在哪里，去河边了吗"), ("assistant", SENTENCES["zh"])],
    ]
    assert kept(measure(*others, expected=("uk", "ja")), keep=["uk", "ja"]) == [False, False]
    # a translation stays with either of its languages
    row = [("user", "Auf Englisch, bitte: " + SENTENCES["de"]), ("assistant", SENTENCES["en"])]
    assert kept(measure(row, expected=("de",)), keep=["de"]) == kept(measure(row), keep=["en"]) == [True]


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
    said = language.fingerprint(language.Settings())["detectors"]
    assert isinstance(said, dict)
    assert {"pycld2", "lid.176.ftz"} < set(said)
    (binding,) = set(said) - {"pycld2", "lid.176.ftz"}
    assert said[binding] == version(binding)


def test_the_binding_in_use_is_the_one_whose_file_lies_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two packages hold `fasttext` under the same names: the later one has written over the earlier."""
    for name, size in (("fasttext-predict", 9), ("fasttext-community", 20)):
        info = tmp_path / f"{name.replace('-', '_')}-1.{size}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.{size}\n", encoding="utf-8")
        (info / "RECORD").write_text(f"fasttext/__init__.py,,2\nfasttext_pybind.py,,{size}\n", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for loaded in ("fasttext", "fasttext_pybind"):
        monkeypatch.delitem(sys.modules, loaded, raising=False)
    said = []
    for size in (20, 9, 11):
        (tmp_path / "fasttext_pybind.py").write_bytes(b"x" * size)
        invalidate_caches()
        said.append(detectors_module._binding())
    assert said == [{"fasttext-community": "1.20"}, {"fasttext-predict": "1.9"}, {"fasttext": "unknown"}]


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
        assert set(labels(*TWO_WORDS)) == {"und"}
    finally:
        detectors.cache_clear()


def test_langdetect_is_seeded() -> None:
    text = "chat pain coin main four"  # words of two languages: unseeded, the answer changes from call to call
    assert len({detectors_module.langdetect(text) for _ in range(8)}) == 1


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

    paths = sorted((folder / "word-pairs").glob("*.txt"))
    assert len(paths) == 31
    for path in paths:
        assert all(kept(measure(*[[("assistant", s)] for s in words(path)]))), path.stem


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


@pytest.mark.real
@pytest.mark.parametrize("keep", [("de", "en"), ("zh",), ("ja",), ("ru", "sr"), ("bs", "hr", "sr"), ("da", "no")])
def test_other_keepers_on_real_sentences(real_data: Path, keep: tuple[str, ...]) -> None:
    close = {"de": "af", "zh": "ja", "ja": "zh", "ru": "sr"}  # not counted: taken for each other
    for path in sorted((real_data / "lang" / "lingua" / "sentences").glob("*.txt")):
        lines = [s for s in words(path)[:300] if sum(map(str.isalpha, s)) >= 40]
        said = kept(measure(*[[("assistant", s)] for s in lines], expected=keep), keep=list(keep))
        if normal_code(path.stem) in keep:
            assert said.count(True) >= 0.97 * len(lines), path.stem
        elif path.stem not in {*map(close.get, keep), "ms", "bs", "ca"}:  # full of names and of other languages
            assert said.count(True) <= 0.05 * len(lines), path.stem


@pytest.mark.real
def test_languages_of_flan_are_found_and_kept_by_its_source(real_data: Path) -> None:
    gathered = gather_data(real_data / "flan" / "super_ni" / "tasks" / "task1239_ted_translation_gl_ja.json")[0]
    measured = language.measure(gathered.rows, language.Settings())
    said = measured["language_turns"].list.last().value_counts(sort=True).row(0)[0]
    assert said == "ja"
    assert all(kept(measured, keep=["*"]))
