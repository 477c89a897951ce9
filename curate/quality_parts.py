"""The parts of the quality score: each looks at answers and their prompts and says 0 (bad) to 1 (nothing wrong).

A *gate* finds a fault and multiplies the score; a *scale* says how much there is of something good, and the scales
are averaged by weight. Rules made for web pages are left out on purpose: no smallest number of words, no
punctuation at line ends, no forbidden braces; they throw away four in five answers written by people.

Texts are read up to `READ` characters; a longer one is judged by its first part, and by its end where that matters.
All are columns: a part gives a value for each exchange. What cannot be said of a whole column at once is asked of
the few texts that a cheap test picks, one by one.
"""

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from caravan.curate import quality_phrases as phrases

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

READ = 8_000
_TASK = 300  # characters of a prompt's beginning and end in which its task is looked for
_ABOUT = 2_000  # characters that say what a text is about

_SPACE = "".join(c for c in map(chr, range(0x3001)) if c.isspace())
_BLANK = _SPACE + "\u200b\u200c\u200d\u2060\ufeff"
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_CJK_A_WORD = 1.6  # characters


class Texts:
    """A column of texts, and what several parts want to know of them."""

    def __init__(self, texts: pl.Series) -> None:
        self.whole = texts.str.strip_chars(_BLANK)
        self.read = self.whole.str.slice(0, READ)

    @cached_property
    def lower(self) -> pl.Series:
        """What is read, in lower case."""
        return self.read.str.to_lowercase()

    @cached_property
    def task(self) -> pl.Series:
        """Where a prompt says what to do: its beginning and its end, in lower case."""
        ends = pl.concat_str(pl.col("text").str.head(_TASK), pl.col("text").str.tail(_TASK), separator="\n")
        long = pl.col("text").str.len_chars() > 2 * _TASK
        return pl.DataFrame({"text": self.lower}).select(pl.when(long).then(ends).otherwise("text")).to_series()

    @cached_property
    def words(self) -> Floats:
        """How many words; Chinese and Japanese are counted as 1.6 characters a word."""
        from caravan.curate import text_kernels as kernels

        spaced, alone = np.zeros((2, len(self.read)), np.int64)
        kernels.words(*kernels.joined(self.read), _table(), spaced, alone)
        return spaced + alone / _CJK_A_WORD

    @cached_property
    def stems(self) -> tuple[npt.NDArray[np.uint64], Ints]:
        """What each is about, as hashes, and where in them those of each text begin and end.

        The first five letters of words of four and more, less the commonest, and of numbers the first five digits;
        where a language is written without spaces, pairs of characters.
        """
        return _stems(self.lower.str.slice(0, _ABOUT), _common())


@cache
def _table() -> npt.NDArray[np.uint8]:
    """What each code point is to the kernels, in the words of Python's regular expressions."""
    from caravan.curate import text_kernels as kernels

    table = np.zeros(0x110000, np.uint8)
    assigned = "".join(map(chr, range(0x34000)))  # beyond these there are no letters, numbers or white space
    for bit, pattern in (
        (kernels.SPACE, r"\s+"),
        (kernels.LETTER, r"[^\W\d_]+"),
        (kernels.DIGIT, r"\d+"),
        (kernels.ALONE, f"[{_CJK}]+"),
    ):
        for run in re.finditer(pattern, assigned):
            table[run.start() : run.end()] |= bit
    return table


def _stems(texts: pl.Series, common: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.uint64], Ints]:
    from caravan.curate import text_kernels as kernels

    data, offsets = kernels.joined(texts)
    found, ends = np.empty(data.size, np.uint64), np.zeros(offsets.size, np.int64)
    kernels.stems(data, offsets, _table(), common, found, ends)
    return found[: ends[-1]].copy(), ends


@cache
def _common() -> npt.NDArray[np.uint64]:
    return np.sort(_stems(pl.Series([phrases.COMMON]), np.empty(0, np.uint64))[0])


@dataclass(frozen=True)
class Exchanges:
    """Answers, and the prompts that they answer; `follows` where the one before is of the same dialogue."""

    prompts: Texts
    answers: Texts
    follows: Flags


class Part(NamedTuple):
    """One part: what it says of exchanges, whether it is a gate or a scale, and the weight of a scale."""

    of: Callable[[Exchanges], Floats]
    kind: Literal["gate", "scale"]
    weight: float = 0.0


def detail(e: Exchanges) -> Floats:
    """How much the answer says, on a log scale.

    From .3 for one word (a right answer may be short) most of the way up to what the prompt asks for: 6 words for a
    closed question, 40 for something brief, else 150. The last fifth takes 400 words whatever the prompt.
    """
    closed, brief = phrases.CLOSED.found(e.prompts.task), phrases.BRIEF.found(e.prompts.task)
    asked = np.where(closed, 6.0, np.where(brief, 40.0, 150.0))
    said = _log1p(e.answers.words)
    enough = np.minimum(1.0, said / _log1p(asked))
    much = np.minimum(1.0, said / _log1p(np.array([400.0])))
    return 0.3 + 0.5 * enough + 0.2 * much


def _log1p(values: Floats) -> Floats:
    """As the C library has it: numpy's own depends on the processor."""
    return pl.Series(values).log1p().to_numpy()


_MARKED_LINE = rf"(?m)^[{_SPACE}]*(?:[-*•]|\d+[.)]|#{{1,6}}|\|)[{_SPACE}]*[^{_SPACE}]|^```"


def structure(e: Exchanges) -> Floats:
    """Whether a long answer is laid out: paragraphs, lists, headings, fences. Below 80 words nothing is expected."""
    long = e.answers.words >= 80
    text, words = e.answers.read.filter(pl.Series(long)), e.answers.words[long]
    lines = text.str.count_matches("\n", literal=True).to_numpy()
    marked = text.str.count_matches(_MARKED_LINE).to_numpy()
    values = np.full(long.size, 0.7)
    values[long] = 0.4 + 0.3 * np.minimum(1.0, lines * 80.0 / words) + 0.3 * np.minimum(1.0, marked / 3)
    return values


# The share of a text in repeated n-grams from which it counts as repetitive (Rae et al. 2021, table A1).
_MOST_FREQUENT = {2: 0.20, 3: 0.18, 4: 0.16}
_REPEATED = {5: 0.15, 10: 0.10}
_REPEATED_LINES = 0.30
_CODE_SIGN = r"[{}<>=;|]"
_CODE_SHARE = 0.03
# A text that deflates less is not counted through: of 11,000 answers none of those was at three times a limit.
_COMPRESSIBLE = 0.5


def repetition(e: Exchanges) -> Floats:
    """1 up to Gopher's limits for repeated lines and n-grams, falling to 0 at eight times a limit.

    Only for 50 words and more: a short answer may well say a thing twice. Code and tables repeat themselves by
    nature, so a text full of their signs has three times the limits.
    """
    long = e.answers.words >= 50
    chosen = pl.Series(long)
    text = e.answers.read.filter(chosen)
    excess = np.maximum(_repeated_grams(e.answers.lower.filter(chosen)), _repeated_lines(text))
    signs = text.str.count_matches(_CODE_SIGN).to_numpy()
    excess[signs > _CODE_SHARE * text.str.len_chars().to_numpy()] /= 3
    excess[~phrases.each(_compressible, text, excess > 1)] = 1.0
    values = np.ones(long.size)
    values[long] = np.clip(1 - (excess - 1) / 7, 0.0, 1.0)
    return values


def _repeated_grams(lower: pl.Series) -> Floats:
    """How many times a limit for n-grams each text reaches; for units in a row see `text_kernels.repeats`."""
    from caravan.curate import text_kernels as kernels

    widths = np.array([*_MOST_FREQUENT, *_REPEATED])
    units, dense = np.zeros((2, len(lower)), np.int64)
    most, kinds = np.zeros((2, len(lower), widths.size), np.int64)
    kernels.repeats(*kernels.joined(lower), _table(), widths, units, dense, most, kinds)
    excess = np.zeros(len(lower))
    some = np.maximum(units, 1)
    for k, (n, limit) in enumerate((_MOST_FREQUENT | _REPEATED).items()):
        grams = np.maximum(units - n * dense + 1, 1)
        often = np.where(most[:, k] > 3, most[:, k] * n * dense / some, 0.0)
        share = often if n in _MOST_FREQUENT else np.where(kinds[:, k] > 0, 1 - kinds[:, k] / grams, 0.0)
        excess = np.maximum(excess, share / limit)
    return excess


def _repeated_lines(texts: pl.Series) -> Floats:
    """How many times the limit for lines each text reaches; lines of up to eight characters do not count."""
    lines = pl.DataFrame({"line": texts.str.split("\n")}).with_row_index("text").explode("line")
    lines = lines.filter(pl.col("line").str.strip_chars(_SPACE).str.len_chars() > 8)
    counted = lines.group_by("text").agg(pl.len().alias("lines"), kinds=pl.col("line").n_unique())
    counted = counted.filter(pl.col("lines") > 3)
    excess = np.zeros(len(texts))
    excess[counted["text"].to_numpy()] = (
        1 - counted["kinds"].to_numpy() / counted["lines"].to_numpy()
    ) / _REPEATED_LINES
    return excess


def _compressible(text: str) -> bool:
    data = text.encode("utf-8", "surrogatepass")
    return len(zlib.compress(data, 1)) <= _COMPRESSIBLE * len(data)


def refusal(e: Exchanges) -> Floats:
    """.1 for an answer that declines in its first 300 characters and says little more, .5 where it goes on."""
    refused = phrases.REFUSAL.found(e.answers.lower.str.slice(0, 300))
    return np.where(refused, np.where(e.answers.words < 120, 0.1, 0.5), 1.0)


def ai_disclaimer(e: Exchanges) -> Floats:
    """.4 where the answer speaks of itself as a language model, unless the prompt asks about such things."""
    found = phrases.AI_DISCLAIMER.found(e.answers.lower)
    asked = phrases.each(phrases.ABOUT_AI.search, e.prompts.lower, found)
    return np.where(found, np.where(asked, 0.8, 0.4), 1.0)


_ENDS_OPEN = re.compile(
    r"(?:[,:(\[{–—]|\b(?:the|a|an|and|or|but|of|to|in|with|for|that|which|is|are|was|by|as|from|because|y|de|la|el|et"
    r"|le|les|und|der|die|das|ein|eine|di|il|e|и|в|на|не))$",
    re.IGNORECASE,
)
_ENDS_WHOLE = re.compile(r"[.!?…。！？؟।॥՞:;)\]}\"'’”»」』`*_|>~=]$|\d$")


def truncation(e: Exchanges) -> Floats:
    """Whether the answer breaks off.

    .3 for a fence that never closes or a last line that ends in a comma or a word like "the", .6 for a last line of
    prose (10 words and more; a list of names is none) without an end.
    """
    text = e.answers.whole
    last = text.str.tail(400).str.split("\n").list.last().str.strip_chars(_SPACE)
    length = Texts(last).words
    fenced = last.str.contains("```", literal=True).to_numpy()
    judged = (e.answers.words >= 12) & (length >= 4) & ~fenced
    prose = judged & (length >= 10) & (last.str.count_matches(",", literal=True).to_numpy() * 6 < length)
    ends_open = phrases.each(_ENDS_OPEN.search, last.str.tail(12), judged)
    ends_whole = phrases.each(_ENDS_WHOLE.search, last.str.tail(1), prose)
    unclosed = text.str.count_matches("```", literal=True).to_numpy() % 2 == 1
    values = np.where(ends_open, np.where(length >= 6, 0.3, 0.7), np.where(prose & ~ends_whole, 0.6, 1.0))
    return np.where(unclosed, 0.3, values)


def mojibake(e: Exchanges) -> Floats:
    """.8 for one broken character, falling to 0 where one in fifty is."""
    found = e.answers.read.str.count_matches(phrases.MOJIBAKE).to_numpy()
    length = np.maximum(e.answers.read.str.len_chars().to_numpy(), 1)
    return np.where(found, np.maximum(0.0, 0.8 - 40.0 * found / length), 1.0)


_OPENING = 8  # characters that tell nearly all answers from their prompts


def prompt_echo(e: Exchanges) -> Floats:
    """How much the answer adds where it is its prompt, or opens with it (prompts of six words and more)."""
    prompts, answers = e.prompts.lower, e.answers.lower
    alike = (prompts.str.head(_OPENING) == answers.str.head(_OPENING)).to_numpy() & (e.prompts.words >= 6)
    values = np.ones(alike.size)
    chosen = np.flatnonzero(alike)
    for i, asked, said in zip(chosen, prompts.gather(chosen), answers.gather(chosen), strict=True):
        prompt, answer = " ".join(asked.split()), " ".join(said.split())
        if answer.startswith(prompt):
            values[i] = min(1.0, 0.05 + 0.95 * (len(answer) - len(prompt)) / len(prompt))
    return values


_STEMS = 10
_ON_TOPIC = 0.2
_OFF_TOPIC = 0.4


def relevance(e: Exchanges) -> Floats:
    """Whether the answer takes up what its prompt is about: a gate, 1 once a fifth of the smaller text's stems are.

    Down to .4 where nothing is, and less far down the fewer stems there are to judge by: a label or a number says
    nothing. Nor is anything said where the task is to leave the prompt's language. An answer may also take up the
    exchange before.
    """
    from caravan.curate import text_kernels as kernels

    of_prompts, of_answers = e.prompts.stems, e.answers.stems
    asked, said = np.diff(of_prompts[1]), np.diff(of_answers[1])
    stems, common = np.zeros((2, e.follows.size), np.int64)
    kernels.shared(*of_prompts, *of_answers, e.follows, stems, common)
    evidence = np.minimum(1.0, np.minimum(said / _STEMS, 2 * asked / _STEMS))
    shared = common / np.maximum(1, np.minimum(np.minimum(stems, said), _STEMS))
    values = 1 - (1 - _OFF_TOPIC) * evidence * np.maximum(0.0, 1 - shared / _ON_TOPIC)
    return np.where((asked == 0) | (said == 0) | phrases.TRANSLATE.found(e.prompts.task), 1.0, values)


def placeholder(e: Exchanges) -> Floats:
    """0 where the whole answer stands for one that was never written ("<noinput>", "TODO"), .7 with blanks to fill."""
    short = (e.answers.whole.str.len_chars() < 80).to_numpy()
    blanks = phrases.BLANK_TO_FILL.found(e.answers.lower)
    return np.where(
        phrases.each(phrases.PLACEHOLDER.fullmatch, e.answers.lower, short), 0.0, np.where(blanks, 0.7, 1.0)
    )


PARTS: dict[str, Part] = {
    "detail": Part(detail, "scale", 0.7),
    "structure": Part(structure, "scale", 0.3),
    "repetition": Part(repetition, "gate"),
    "refusal": Part(refusal, "gate"),
    "ai_disclaimer": Part(ai_disclaimer, "gate"),
    "truncation": Part(truncation, "gate"),
    "mojibake": Part(mojibake, "gate"),
    "prompt_echo": Part(prompt_echo, "gate"),
    "relevance": Part(relevance, "gate"),
    "placeholder": Part(placeholder, "gate"),
}
