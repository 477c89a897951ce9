"""Which language a row is in; a row whose language cannot be told is "und" and stays.

What is read: of each message the text without code, formulas, markup and addresses, down to its letters, and of
that the first `prefix` characters. The row as a whole decides: user and assistant turns together (system texts and
tool results are left out: they are often shared, and often not in the language of the talk). The steps, in order:

    "empty"      no letters                                                          -> und
    "short"      one or two words in any script, fewer than 4 letters, or in Latin
                 script fewer than `min_letters`                                     -> und
    "script"     more than half of the letters are not Latin                         -> the language of the script;
                 where several share it, the detectors choose among them, with the
                 same benefit of the doubt
    "expected"   the first detector is reliably for an expected language             -> that language
    "second"     the second is for an expected one at .2 or more                     -> that language
    "both"       the first is reliably for another                                   -> that other language
    "sure"       at least 2 x `min_letters`, and the second is for another at .7     -> that other language
    "doubt"      none of these                                                       -> und
    "side"       the row came out as another language, while its prompts alone or
                 its answers alone are in an expected one: a translation, a lesson,
                 a text to be worked on                                              -> the expected language

Words are what stands between blanks. In a script that is written without them that may be a sentence: there a stretch
is three words only where it is longer than two words of `_WORD_AT_MOST` characters, which few words have.

Where the turns agree, the row is not put together and asked about again: most of it is in turns of one expected
language, in which the first detector finds nothing else, and the other turns are short and ASCII.

So `expected` languages, English unless told otherwise, have the benefit of the doubt. It belongs to the measure, as
`keep` belongs to the verdict: whoever keeps other languages names them in both. `language` is an ISO 639-1 code
where the language has one, else ISO 639-3 ("ceb"); both kinds of Norwegian are "no", Serbo-Croatian without a
closer label is "sr".

`language_first` and `language_second` are what the two detectors said of the whole row, with their scores; null where
they had nothing to say or were not asked.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field, JsonValue, field_validator

import caravan.curate.filter as contract
from caravan.curate.detectors import Guess, Pair, detectors, normal_code, one_language_share

VERSION = 4
COLUMNS: dict[str, pl.DataType] = {
    "language": pl.String(),
    "language_score": pl.Float64(),
    "language_step": pl.String(),
    "language_letters": pl.Int64(),
    "language_first": pl.String(),
    "language_first_score": pl.Float64(),
    "language_second": pl.String(),
    "language_second_score": pl.Float64(),
    "language_turns": pl.List(pl.String()),
}
TRY: dict[str, tuple[float, ...]] = {}
REASONS: tuple[str, ...] = ("language",)
UNDETERMINED = "und"

# Languages that own a script, or share it: the first is the likeliest. Checked in this order where two are as frequent.
SCRIPTS = {
    "Cyrillic": ("ru", "uk", "bg", "sr", "mk", "be", "kk", "ky", "mn", "tg", "tt", "ba", "cv", "ce", "os", "sah", "mhr",
                 "mrj", "myv", "kv", "krc", "av", "lez", "xal", "tyv", "bxr", "rue", "uz", "az"),
    "Arabic": ("ar", "fa", "ur", "ps", "sd", "ug", "ckb", "ku", "pa", "az", "mzn", "ks", "dv"),
    "Devanagari": ("hi", "mr", "ne", "sa", "mai", "bh", "new", "gom", "dty", "raj"),
    "Han": ("zh", "ja"), "Hiragana": ("ja",), "Katakana": ("ja",), "Hangul": ("ko",), "Bopomofo": ("zh",),
    "Bengali": ("bn", "as", "bpy"), "Hebrew": ("he", "yi"), "Ethiopic": ("am", "ti"), "Tibetan": ("bo", "dz"),
    "Greek": ("el",), "Thai": ("th",), "Georgian": ("ka", "xmf"), "Armenian": ("hy",), "Tamil": ("ta",),
    "Telugu": ("te",), "Kannada": ("kn",), "Malayalam": ("ml",), "Gujarati": ("gu",), "Gurmukhi": ("pa",),
    "Oriya": ("or",), "Sinhala": ("si",), "Lao": ("lo",), "Khmer": ("km",),
    "Myanmar": ("my", "mnw", "shn"), "Thaana": ("dv",), "Cherokee": ("chr",), "Canadian_Aboriginal": ("iu", "cr"),
    "Tifinagh": ("zgh",), "Nko": ("nqo",), "Vai": ("vai",), "Adlam": ("ff",), "Syriac": ("syr",), "Mongolian": ("mn",),
    "Ol_Chiki": ("sat",), "Meetei_Mayek": ("mni",), "Chakma": ("ccp",), "Lisu": ("lis",), "Yi": ("ii",),
    "Javanese": ("jv",), "Balinese": ("ban",), "Sundanese": ("su",), "Cham": ("cjm",), "Tai_Le": ("tdd",),
    "New_Tai_Lue": ("khb",), "Tai_Tham": ("nod",), "Coptic": ("cop",), "Gothic": ("got",),
}  # fmt: skip

_NUMBERED = ("", "Latin", *SCRIPTS)  # as `_table` numbers them; "" is any other
_DENSE_SCRIPTS = [_NUMBERED.index(script) for script in ("Han", "Hiragana", "Katakana", "Hangul")]

_READ = 8_000  # characters of a message, from its start; what lies behind does not count
_TURNS = 8  # turns of each side that decide a row
_FOREIGN_SHARE = 0.5
_SCRIPT_LETTERS = 4
_DENSE = 3  # a Chinese or Japanese character or a Korean syllable carries as much as about three Latin letters
_WORDS = 3  # one or two words, however long, are a name or a term as often as a language
# The characters of a long word in scripts without spaces, vowel signs too; a common one has two in Chinese, five in
# Thai. Thai has blanks between phrases, and who cuts its words at blanks gets phrases of up to 75: they count as words.
_WORD_AT_MOST = {"Han": 4, "Yi": 4, "Hiragana": 8, "Katakana": 8, "Bopomofo": 8, "Thai": 80} | dict.fromkeys(
    ("Lao", "Khmer", "Myanmar", "Tibetan", "Javanese", "Balinese", "Tai_Le", "New_Tai_Lue", "Tai_Tham"), 24
)
_WORD = 240  # parts, so that each share is a whole number
_WORD_PARTS = np.array([_WORD // _WORD_AT_MOST[name] if name in _WORD_AT_MOST else 0 for name in _NUMBERED])
_SURE = 0.7  # for the second detector alone
_LIKELY = 0.2  # below it the second detector as good as guesses
_KANA_SHARE = 0.05  # Japanese prose is a third to two thirds kana; Chinese quotes a word of it at most

_CODE = "|".join(
    (
        r"```[\s\S]*?(?:```|\z)|~~~[\s\S]*?(?:~~~|\z)|`[^`\n]*`",  # fences (also one that never ends), inline code
        r"\$\$[\s\S]*?\$\$|\\\[[\s\S]*?\\\]|\\\([\s\S]*?\\\)|\$[^$\n]*[\\^_={}][^$\n]*\$|\\[A-Za-z]+",  # TeX
        r"(?:https?://|www\.)[^\s<>]+|[\w.+-]+@[\w-]+\.[\w.-]+",
        r"</?[A-Za-z][^<>]{0,200}>|&[A-Za-z]+;",
        # lines of code without a fence: they end in a mark that ends no sentence, or open with a keyword and a call
        r"(?m:^.*[{}]\s*$|^.*[=(\[].*;\s*$)",
        r"(?m:^\s*(?:def|class|import|from|return|print|elif|while|for|if|try|except|with|let|const|var)"
        r"(?:[^\w\n].*)?[:)\]]\s*$)",
        r"(?m:^\s*[A-Za-z_][\w.\[\]]*(?:\s*[-+*/]?=|\().*[\])\d'\x22]\s*$)",
        r"\b[A-Za-z0-9]*[0-9_][A-Za-z0-9_]*\b|\b[IVXLC]{2,}\b",  # identifiers, units, model names, Roman numbers
        r"\b\p{Greek}\b",  # a single Greek letter is a variable
    )
)
# Where a text is not all ASCII, `\b` makes the search twenty times slower than `\b` of ASCII words alone. The two say
# the same of a text without Greek and without words in which other letters stand beside ASCII ones with digits.
_CODE_ASCII = _CODE.replace(r"\b", r"(?-u:\b)")
_OTHER = r"[\w&&[^\x00-\x7f]]"
_TOUCHING = r"(?:[A-Za-z][0-9_]|[0-9_][A-Za-z])"
_NEEDS_UNICODE = rf"\p{{Greek}}|{_OTHER}[A-Za-z0-9_]*{_TOUCHING}|{_TOUCHING}[A-Za-z0-9_]*{_OTHER}"
_FEW = 8  # stretches, of which signs in them may make one word or two
_WITHIN = r"\b[!-&(-/:-@\[-`{-~‐‑־׳״·]\b"  # one sign: of ASCII, a hyphen, Hebrew's, Catalan's
_JOIN = "\u0f0c"  # stands for it, while the others go
# What is left are letters, marks and what joins them; all else but single blanks becomes one.
_KEPT = r"\p{L}\p{M}'’\u200c\u0f0b\u0f0c"  # the last two stand between the syllables of Tibetan
# Letters in fancy dress become plain ones; words with letters that are in use for nothing but sounds say no language.
_FANCY = r"[\u{ff21}-\u{ff5a}\u{1d400}-\u{1d7ff}]"
_SOUNDS = r"[ɐɑɒɕɘɚɜɞɟɤɥɪɬɮɰɸɹɺɻɾʀʁʂʈʊʌʎʏʑʐʘʛʝʟ\u{1d00}-\u{1d2b}]"
_NO_LETTERS = rf"(?: ?[^{_KEPT} ]|  )[^{_KEPT}]*"


class Settings(contract.Settings):
    """What the label depends on.

    `expected`: languages that get the benefit of the doubt (see above). `prefix`: characters read of each message,
    counted after code and signs have gone; detectors hardly gain from more. `min_letters`: fewer say nothing.
    """

    expected: tuple[str, ...] = ("en",)
    prefix: int = Field(default=300, ge=40, le=8_000)
    min_letters: int = Field(default=20, ge=1)

    @field_validator("expected", mode="before")
    @classmethod
    def _codes(cls, value: Any) -> Any:
        return _codes(value)


class Limits(contract.Limits):
    """`keep`: the languages that stay, ISO 639-1 codes, or "*" for all. "und" always stays."""

    keep: tuple[str, ...] = ("en",)

    @field_validator("keep", mode="before")
    @classmethod
    def _codes(cls, value: Any) -> Any:
        return _codes(value, "*")


def fingerprint(settings: Settings) -> dict[str, JsonValue]:  # noqa: ARG001
    """The detectors in use, with their versions."""
    return {"detectors": {**detectors().versions}}


def measure(batch: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """`COLUMNS` for each row; `language_turns` has one code a message, system texts and tool results too."""
    labels = _Labels(settings, detectors())
    turns = _turns(batch, settings.prefix)
    turns = turns.hstack(_columns(labels.of(turns["text"])))
    talk = turns.filter(pl.col("role").is_in(["user", "assistant"]) & (pl.col("text") != ""))
    talk = talk.with_columns(nth=pl.int_range(pl.len()).over("row", "role")).filter(pl.col("nth") < _TURNS)
    number = batch.select(pl.int_range(pl.len()).alias("row"))
    rows = number.join(_together(talk), on="row", how="left", maintain_order="left")
    asked = iter(labels.of(rows.filter(pl.col("agreed").is_null())["text"].fill_null("")))
    agreed = rows.select("agreed", one_language_share(pl.col("text")), "letters").iter_rows()
    decided = [
        next(asked) if label is None else _Decision(label, s, "expected", n, Guess(label, s, True))
        for label, s, n in agreed
    ]
    strange = [i for i, d in enumerate(decided) if d.label != UNDETERMINED and d.label not in settings.expected]
    for role in ("user", "assistant"):
        side = _together(talk.filter((pl.col("role") == role) & pl.col("row").is_in(strange)))
        for i, text, d in zip(side["row"].to_list(), side["text"].to_list(), labels.of(side["text"]), strict=True):
            # "Say it in French." is too short for a language of its own, but enough to vouch for the answer.
            few = d.step == "short" or d.letters < settings.min_letters
            label = labels.agreed(text, d) if few else d.label
            if label in settings.expected and decided[i].step != "side":
                decided[i] = decided[i]._replace(label=label, score=d.score, step="side")
    flags = number.join(turns.group_by("row").agg("language"), on="row", how="left", maintain_order="left")["language"]
    return _columns(decided).with_columns(language_turns=flags.fill_null(pl.Series([[]], dtype=pl.List(pl.String))))


def verdict(limits: Limits) -> pl.Expr:
    """`language` where the row's language is known and not among those to keep."""
    label = pl.col("language")
    kept = label.is_in([UNDETERMINED, *limits.keep]) | pl.lit("*" in limits.keep)
    return pl.when(~kept).then(pl.lit("language"))


def letters_only(texts: pl.Series, prefix: int) -> pl.Series:
    """Each text without code, formulas, markup, addresses and signs, its first `prefix` characters."""
    read = texts.str.slice(0, _READ)
    cleaned = read.str.replace_all(_CODE_ASCII, " ")
    at = (read.str.len_bytes() != read.str.len_chars()).arg_true()
    at = at.filter(read.gather(at).str.contains(f"{_NEEDS_UNICODE}|{_FANCY}|{_SOUNDS}"))
    odd = read.gather(at)
    fancy = odd.str.contains(_FANCY)
    odd = odd.scatter(fancy.arg_true(), odd.filter(fancy).str.normalize("NFKC"))
    odd = odd.str.replace_all(rf"\S*{_SOUNDS}\S*", " ").str.replace_all(_CODE, " ")
    cleaned = cleaned.scatter(at, odd)
    letters = _stretches(cleaned)
    # Where words are few they are counted: a sign within a word ("col·legi", "из-за") does not divide it.
    few = (letters.str.count_matches(" ", literal=True) < _FEW).arg_true()
    whole = _stretches(cleaned.gather(few).str.replace_all(_WITHIN, _JOIN))
    whole = whole.str.replace_all(f"{_JOIN}* [ {_JOIN}]*", " ").str.replace_all(_JOIN, "-", literal=True)
    return letters.scatter(few, whole).str.slice(0, prefix)


def _stretches(cleaned: pl.Series) -> pl.Series:
    return cleaned.str.replace_all(_NO_LETTERS, " ").str.strip_chars(f" '’\u200c{_JOIN}")


class _Decision(NamedTuple):
    """What one text is, how, and what the detectors said where they were asked.

    `leaning`: of a text in a script of one language, that language, however short it is.
    """

    label: str
    score: float
    step: str
    letters: int
    first: Guess | None = None
    second: Guess | None = None
    leaning: str = UNDETERMINED


def _columns(decided: list[_Decision]) -> pl.DataFrame:
    """Decisions as the columns of a row, but for its turns."""
    columns: dict[str, list[Any]] = {
        "language": [d.label for d in decided],
        "language_score": [d.score for d in decided],
        "language_step": [d.step for d in decided],
        "language_letters": [d.letters for d in decided],
    }
    for nth in ("first", "second"):
        said = [getattr(d, nth) for d in decided]
        columns[f"language_{nth}"] = [guess and guess.label for guess in said]
        columns[f"language_{nth}_score"] = [guess.score if guess and guess.label else None for guess in said]
    return pl.DataFrame(columns, schema={name: COLUMNS[name] for name in columns})


class _Labels:
    """The rule above, for texts from `letters_only`."""

    def __init__(self, settings: Settings, pair: Pair) -> None:
        self.settings, self.pair = settings, pair
        self.expected = frozenset(settings.expected)
        self.known: dict[str, _Decision] = {}

    def of(self, texts: pl.Series) -> list[_Decision]:
        """A decision for each text; texts that are alike are looked at once."""
        listed = texts.to_list()
        new = [text for text in dict.fromkeys(listed) if text not in self.known]
        self.known.update(zip(new, self._decide(pl.Series(new, dtype=pl.String)), strict=True))
        return [self.known[text] for text in listed]

    def agreed(self, text: str, short: _Decision) -> str:
        """The language of a short text, if its script or both detectors say so."""
        if short.leaning != UNDETERMINED:
            return short.leaning
        first, second = self.pair.first(text), self.pair.second(text)
        return first.label if first.reliable and first.label and first.label == second.label else UNDETERMINED

    def _decide(self, texts: pl.Series) -> Iterator[_Decision]:
        from caravan.curate import text_kernels as kernels

        letters = np.zeros(len(texts), np.int64)
        scripts = np.zeros((len(texts), len(_NUMBERED)), np.int64)
        kernels.census(*kernels.joined(texts), _table(), letters, scripts)
        latin = scripts[:, _NUMBERED.index("Latin")]
        other = letters - latin + scripts[:, _DENSE_SCRIPTS].sum(axis=1) * (_DENSE - 1)
        foreign = (other > _FOREIGN_SHARE * (other + latin)) & (letters >= _SCRIPT_LETTERS)
        stretches = texts.str.count_matches(" ", literal=True).to_numpy() + 1
        few = (stretches < _WORDS) & (scripts @ _WORD_PARTS <= (_WORDS - 1) * _WORD)
        said = zip(texts.to_list(), letters.tolist(), few.tolist(), foreign.tolist(), scripts, strict=True)
        for text, n, is_short, by_script, counts in said:
            yield self._by_script(text, n, is_short, counts) if by_script else self._by_detectors(text, n, is_short)

    def _by_script(self, text: str, letters: int, is_short: bool, counts: npt.NDArray[np.int64]) -> _Decision:
        found = dict(zip(_NUMBERED, counts.tolist(), strict=True))
        kana = found["Hiragana"] + found["Katakana"]
        found["Hiragana"] = found["Han"] + kana if kana > _KANA_SHARE * (found["Han"] + kana) else kana
        script = max(SCRIPTS, key=found.__getitem__)
        languages = SCRIPTS[script] if found[script] else (UNDETERMINED,)
        # few letters of a shared script: an expected language if there is one, else the likeliest
        label = next((language for language in languages if language in self.expected), languages[0])
        leaning = languages[0] if script == "Han" or len(languages) == 1 else UNDETERMINED
        if is_short:
            return _Decision(UNDETERMINED, 0.0, "short", letters, leaning=leaning)
        first = second = None
        if script == "Han" and letters >= self.settings.min_letters:
            label = "zh"  # so many characters without kana
        elif len(languages) > 1 and letters >= self.settings.min_letters:
            first, second = self.pair.first(text), self.pair.second(text)
            named = [guess for guess in (first, second) if guess.label in languages]
            label = max(named, key=self._weight, default=Guess(label, 0.0, False)).label or label
        return _Decision(label, min(found[script] / letters, 1.0), "script", letters, first, second, leaning)

    def _weight(self, guess: Guess) -> tuple[bool, bool, float]:
        return guess.label in self.expected and guess.score >= _LIKELY, guess.reliable, guess.score

    def _by_detectors(self, text: str, letters: int, is_short: bool) -> _Decision:
        if letters < self.settings.min_letters or is_short:
            return _Decision(UNDETERMINED, 0.0, "short" if letters else "empty", letters)
        first = self.pair.first(text)
        if first.reliable and first.label in self.expected:
            return _Decision(first.label, first.score, "expected", letters, first)
        second = self.pair.second(text.lower() if text.isupper() else text)
        label, score, step = self._weighed(first, second, letters)
        return _Decision(label or UNDETERMINED, score, step, letters, first, second)

    def _weighed(self, first: Guess, second: Guess, letters: int) -> tuple[str | None, float, str]:
        """Label, score and step of a text of which the first detector does not reliably say an expected language."""
        sure = second.label not in self.expected and second.score >= _SURE
        if second.label in self.expected and second.score >= _LIKELY:
            return second.label, second.score, "second"
        if first.reliable:
            best = second if sure else first
            return best.label, best.score, "both"
        if sure and second.label is not None and letters >= 2 * self.settings.min_letters:
            return second.label, second.score, "sure"
        return None, 0.0, "doubt"


@cache
def _table() -> npt.NDArray[np.uint8]:
    """What each code point is to `census`, in the words of polars' regular expressions."""
    from caravan.curate import text_kernels as kernels

    table = np.zeros(0x110000, np.uint8)
    # beyond these there are no letters, and no scripts
    assigned = pl.Series(["".join(chr(c) for c in range(0x34000) if not 0xD800 <= c < 0xE000)])
    for bits, name in ((kernels.LETTERS, "L"), *enumerate(_NUMBERED[1:], 1)):
        for run in assigned.str.extract_all(rf"\p{{{name}}}+").item():
            table[ord(run[0]) : ord(run[-1]) + 1] |= bits
    return table


def _turns(batch: pl.DataFrame, prefix: int) -> pl.DataFrame:
    """One line a message: `row`, `role`, and `text`, what is left of it to be judged."""
    flat = (
        batch.select(pl.int_range(pl.len()).alias("row"), "messages")
        .filter(pl.col("messages").list.len() > 0)
        .explode("messages")
        .unnest("messages")
    )
    return flat.select("row", "role", letters_only(flat["content"].fill_null(""), prefix).alias("text"))


def _together(turns: pl.DataFrame) -> pl.DataFrame:
    """One line a row: the `text` of all its turns, their `letters`, and the one language `agreed` upon, or null."""
    text = pl.col("text")
    whole = (pl.col("language_step") == "expected") & (pl.col("language_score") == one_language_share(text))
    short = (pl.col("language_step") == "short") & (text.str.len_bytes() == text.str.len_chars())
    named, letters = pl.col("language").filter(whole), pl.col("language_letters")
    agree = (whole | short).all() & (named.n_unique() == 1) & (2 * letters.filter(whole).sum() > letters.sum())
    return turns.group_by("row", maintain_order=True).agg(
        text.str.join(" "),
        letters=letters.sum(),
        agreed=pl.when(agree).then(named.first()),
    )


def _codes(value: Any, *others: str) -> Any:
    """One code or several, normalised ("zh-Hant" -> "zh"), distinct; what is no list of texts is left to pydantic."""
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list | tuple) or not all(isinstance(v, str) for v in listed):
        return value
    codes = [v if v in others else normal_code(v) for v in listed]
    for given, code in zip(listed, codes, strict=True):
        if code is None or not (code in others or (code.isascii() and code.isalpha() and len(code) in (2, 3))):
            raise ValueError(f"{given!r} is no language code: use ISO 639-1, as in 'en'")
    return tuple(dict.fromkeys(codes))
