"""Which language a row is in; a row whose language cannot be told is "und" and stays.

What is read: of each message the text without code, formulas, markup and addresses, down to its letters, and of
that the first `prefix` characters. The row as a whole decides: user and assistant turns together (system texts and
tool results are left out: they are often shared, and often not in the language of the talk). The steps, in order:

    "empty"      no letters                                                          -> und
    "script"     at least 4 letters, more than half of them not Latin                -> the language of the script;
                 where several share it, the detectors choose among them
    "short"      fewer than `min_letters` letters, or than three words               -> und
    "expected"   the first detector is reliably for an expected language             -> that language
    "second"     the second is for an expected one at .2 or more                     -> that language
    "both"       the first is reliably for another                                   -> that other language
    "sure"       at least 2 x `min_letters`, and the second is for another at .7     -> that other language
    "doubt"      none of these                                                       -> und
    "side"       the row came out as another language, while its prompts alone or
                 its answers alone are in an expected one: a translation, a lesson,
                 a text to be worked on                                              -> the expected language

Where the turns agree, the row is not put together and asked about again: most of it is in turns of one expected
language, in which the first detector finds nothing else, and the other turns are short and ASCII.

So `expected` languages, English unless told otherwise, have the benefit of the doubt. It belongs to the measure, as
`keep` belongs to the verdict: whoever keeps other languages names them in both. `language` is an ISO 639-1 code
where the language has one, else ISO 639-3 ("ceb"); Bokmål is "no", Serbo-Croatian without a closer label "sr".
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field, JsonValue, field_validator

import caravan.curate.filter as contract
from caravan.curate.detectors import Pair, detectors, normal_code, one_language_share

VERSION = 3
COLUMNS: dict[str, pl.DataType] = {
    "language": pl.String(),
    "language_score": pl.Float64(),
    "language_step": pl.String(),
    "language_letters": pl.Int64(),
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
    "Oriya": ("or",), "Sinhala": ("si",), "Lao": ("lo",), "Khmer": ("km",), "Myanmar": ("my",), "Thaana": ("dv",),
}  # fmt: skip

_NUMBERED = ("", "Latin", *SCRIPTS)  # as `_table` numbers them; "" is any other
_DENSE_SCRIPTS = [_NUMBERED.index(script) for script in ("Han", "Hiragana", "Katakana", "Hangul")]

_READ = 8_000  # characters of a message, from its start; what lies behind does not count
_TURNS = 8  # turns of each side that decide a row
_FOREIGN_SHARE = 0.5
_SCRIPT_LETTERS = 4
_DENSE = 3  # a Chinese or Japanese character or a Korean syllable carries as much as about three Latin letters
_WORDS = 3  # one or two words, however long, are a name or a term as often as a language
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
        r"\b[A-Za-z0-9]*[0-9_][A-Za-z0-9_]*\b",  # identifiers, units, model names
        r"\b\p{Greek}\b",  # a single Greek letter is a variable
    )
)
# Where a text is not all ASCII, `\b` makes the search twenty times slower than `\b` of ASCII words alone. The two say
# the same of a text without Greek and without words in which other letters stand beside ASCII ones with digits.
_CODE_ASCII = _CODE.replace(r"\b", r"(?-u:\b)")
_OTHER = r"[\w&&[^\x00-\x7f]]"
_TOUCHING = r"(?:[A-Za-z][0-9_]|[0-9_][A-Za-z])"
_NEEDS_UNICODE = rf"\p{{Greek}}|{_OTHER}[A-Za-z0-9_]*{_TOUCHING}|{_TOUCHING}[A-Za-z0-9_]*{_OTHER}"
# What is left are letters, marks and what joins them; all else but single blanks becomes one.
_KEPT = r"\p{L}\p{M}'’\u200c"
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
    decided = [next(asked) if label is None else _Decision(label, s, "expected", n) for label, s, n in agreed]
    strange = [i for i, d in enumerate(decided) if d.label != UNDETERMINED and d.label not in settings.expected]
    for role in ("user", "assistant"):
        side = _together(talk.filter((pl.col("role") == role) & pl.col("row").is_in(strange)))
        for i, text, d in zip(side["row"].to_list(), side["text"].to_list(), labels.of(side["text"]), strict=True):
            # "Say it in French." is too short for a language of its own, but enough to vouch for the answer.
            label = labels.agreed(text) if d.step == "short" else d.label
            if label in settings.expected and decided[i].step != "side":
                decided[i] = _Decision(label, d.score, "side", decided[i].letters)
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
    slow = read.str.contains(_NEEDS_UNICODE)
    cleaned = cleaned.scatter(slow.arg_true(), read.filter(slow).str.replace_all(_CODE, " "))
    return cleaned.str.replace_all(_NO_LETTERS, " ").str.strip_chars(" '’\u200c").str.slice(0, prefix)


class _Decision(NamedTuple):
    label: str
    score: float
    step: str
    letters: int


def _columns(decided: list[_Decision]) -> pl.DataFrame:
    """Decisions as the columns of a row, but for its turns."""
    columns = {
        "language": [d.label for d in decided],
        "language_score": [d.score for d in decided],
        "language_step": [d.step for d in decided],
        "language_letters": [d.letters for d in decided],
    }
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

    def agreed(self, text: str) -> str:
        """The language of a short text, if both detectors are of one opinion."""
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
        words = texts.str.count_matches(" ", literal=True) + 1
        said = zip(texts.to_list(), letters.tolist(), words.to_list(), foreign.tolist(), scripts, strict=True)
        for text, n, w, by_script, counts in said:
            yield self._by_script(text, n, counts) if by_script else self._by_detectors(text, n, w)

    def _by_script(self, text: str, letters: int, counts: npt.NDArray[np.int64]) -> _Decision:
        found = dict(zip(_NUMBERED, counts.tolist(), strict=True))
        kana = found["Hiragana"] + found["Katakana"]
        found["Hiragana"] = found["Han"] + kana if kana > _KANA_SHARE * (found["Han"] + kana) else kana
        script = max(SCRIPTS, key=found.__getitem__)
        label = self._choose(text, letters, SCRIPTS[script]) if found[script] else UNDETERMINED
        return _Decision(label, min(found[script] / letters, 1.0), "script", letters)

    def _choose(self, text: str, letters: int, languages: tuple[str, ...]) -> str:
        """Which of the languages that share a script; a short text is an expected one of them if there is one."""
        if len(languages) == 1:
            return languages[0]
        if letters < self.settings.min_letters:
            return next((language for language in languages if language in self.expected), languages[0])
        guesses = (self.pair.first(text), self.pair.second(text))
        named = [g for g in guesses if g.label in languages]
        best = max(named, key=lambda g: (g.reliable, g.score), default=None)
        return languages[0] if best is None or best.label is None else best.label

    def _by_detectors(self, text: str, letters: int, words: int) -> _Decision:
        if letters < self.settings.min_letters or words < _WORDS:
            return _Decision(UNDETERMINED, 0.0, "short" if letters else "empty", letters)
        first = self.pair.first(text)
        if first.reliable and first.label in self.expected:
            return _Decision(first.label, first.score, "expected", letters)
        second = self.pair.second(text.lower() if text.isupper() else text)
        if second.label in self.expected and second.score >= _LIKELY:
            return _Decision(second.label, second.score, "second", letters)
        if first.reliable and first.label is not None:
            best = second if second.label not in self.expected and second.score >= _SURE else first
            return _Decision(best.label or UNDETERMINED, best.score, "both", letters)
        enough = letters >= 2 * self.settings.min_letters and second.score >= _SURE
        if enough and second.label is not None and second.label not in self.expected:
            return _Decision(second.label, second.score, "sure", letters)
        return _Decision(UNDETERMINED, 0.0, "doubt", letters)


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
