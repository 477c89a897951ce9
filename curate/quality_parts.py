"""The parts of the quality score: each looks at one answer and its prompt and says 0 (bad) to 1 (nothing wrong).

A *gate* finds a fault and multiplies the score; a *scale* says how much there is of something good, and the scales
are averaged by weight. Rules made for web pages are left out on purpose: no smallest number of words, no
punctuation at line ends, no forbidden braces; they throw away four in five answers written by people.

Texts are read up to `READ` characters; a longer one is judged by its first part, and by its end where that matters.
"""

import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log1p
from typing import Literal, NamedTuple

from caravan.curate import quality_phrases as phrases

READ = 8_000
_TASK = 300  # characters of a prompt's beginning and end in which its task is looked for
_ABOUT = 2_000  # characters that say what a text is about

_BLANK = "".join(c for c in map(chr, range(0x3001)) if c.isspace()) + "\u200b\u200c\u200d\u2060\ufeff"
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_CJK_CHARACTER = re.compile(f"[{_CJK}]")
_CJK_RUN = re.compile(f"[{_CJK}]{{2,}}")
_TOPICAL = re.compile(r"\d+|[^\W\d_]{4,}")
_UNIT = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")


class Text:
    """A text, and what several parts want to know of it."""

    def __init__(self, text: str) -> None:
        self.whole = text.strip(_BLANK)
        self.read = self.whole[:READ]

    @cached_property
    def lower(self) -> str:
        """What is read, in lower case."""
        return self.read.lower()

    @cached_property
    def task(self) -> str:
        """Where a prompt says what to do: its beginning and its end, in lower case."""
        return self.lower if len(self.lower) <= 2 * _TASK else f"{self.lower[:_TASK]}\n{self.lower[-_TASK:]}"

    @cached_property
    def words(self) -> float:
        """How many words; Chinese and Japanese are counted as 1.6 characters a word."""
        spaced = len(self.read.split())
        return spaced if self.read.isascii() else spaced + len(_CJK_CHARACTER.findall(self.read)) / 1.6

    @cached_property
    def stems(self) -> frozenset[str]:
        """What it is about.

        The first five letters of words of four and more, less the commonest, and numbers; where a language is
        written without spaces, pairs of characters.
        """
        text = self.lower[:_ABOUT]
        found = {word[:5] for word in _TOPICAL.findall(text)} - phrases.COMMON
        if not text.isascii():
            for run in _CJK_RUN.findall(text):
                found.update(run[i : i + 2] for i in range(len(run) - 1))
        return frozenset(found)

    @cached_property
    def folded(self) -> str:
        """Case and white space folded."""
        return " ".join(self.lower.split())


@dataclass(frozen=True)
class Exchange:
    """An answer, the prompt that it answers, and the prompt and answer before that (none at a dialogue's start)."""

    prompt: Text
    answer: Text
    before: tuple[Text, ...] = ()


class Part(NamedTuple):
    """One part: what it says of an exchange, whether it is a gate or a scale, and the weight of a scale."""

    of: Callable[[Exchange], float]
    kind: Literal["gate", "scale"]
    weight: float = 0.0

    def over(self, exchanges: Sequence[Exchange]) -> float:
        """The part's value for a dialogue.

        A scale has the mean over the answers. A gate has half their mean and half their least: one spoilt answer
        counts, and does not sink all the others.
        """
        values = [self.of(e) for e in exchanges]
        mean = sum(values) / len(values)
        return mean if self.kind == "scale" else (mean + min(values)) / 2


def detail(e: Exchange) -> float:
    """How much the answer says, on a log scale.

    From .3 for one word (a right answer may be short) most of the way up to what the prompt asks for: 6 words for a
    closed question, 40 for something brief, else 150. The last fifth takes 400 words whatever the prompt.
    """
    task = e.prompt.task
    asked = 6 if phrases.CLOSED.found(task) else 40 if phrases.BRIEF.found(task) else 150
    enough = min(1.0, log1p(e.answer.words) / log1p(asked))
    much = min(1.0, log1p(e.answer.words) / log1p(400))
    return 0.3 + 0.5 * enough + 0.2 * much if e.answer.whole else 0.0


_MARKED_LINE = re.compile(r"^\s*(?:[-*•]|\d+[.)]|#{1,6}|\|)\s*\S|^```", re.MULTILINE)


def structure(e: Exchange) -> float:
    """Whether a long answer is laid out: paragraphs, lists, headings, fences. Below 80 words nothing is expected."""
    if e.answer.words < 80:
        return 0.7
    lines = e.answer.read.count("\n")
    marked = len(_MARKED_LINE.findall(e.answer.read))
    return 0.4 + 0.3 * min(1.0, lines * 80 / e.answer.words) + 0.3 * min(1.0, marked / 3)


# The share of a text in repeated n-grams from which it counts as repetitive (Rae et al. 2021, table A1).
_MOST_FREQUENT = {2: 0.20, 3: 0.18, 4: 0.16}
_REPEATED = {5: 0.15, 10: 0.10}
_REPEATED_LINES = 0.30
_CODE_SIGN = re.compile(r"[{}<>=;|]")
_CODE_SHARE = 0.03
# A text that deflates less is not counted through: of 11,000 answers none of those was at three times a limit.
_COMPRESSIBLE = 0.5


def repetition(e: Exchange) -> float:
    """1 up to Gopher's limits for repeated lines and n-grams, falling to 0 at eight times a limit.

    Only for 50 words and more: a short answer may well say a thing twice. Code and tables repeat themselves by
    nature, so a text full of their signs has three times the limits.
    """
    text = e.answer.read
    data = text.encode("utf-8", "surrogatepass")
    if e.answer.words < 50 or len(zlib.compress(data, 1)) > _COMPRESSIBLE * len(data):
        return 1.0
    units = _UNIT.findall(text.lower())
    if not units:
        return 1.0
    dense = 2 if sum(_CJK_CHARACTER.match(u) is not None for u in units) * 2 > len(units) else 1
    excess = 0.0
    for n, limit in _MOST_FREQUENT.items():
        counts = Counter(zip(*(units[i:] for i in range(n * dense)), strict=False))
        most = max(counts.values(), default=0)
        excess = max(excess, (most * n * dense / len(units) if most > 3 else 0.0) / limit)
    for n, limit in _REPEATED.items():
        grams = list(zip(*(units[i:] for i in range(n * dense)), strict=False))
        if grams:
            excess = max(excess, (1 - len(set(grams)) / len(grams)) / limit)
    lines = [line for line in text.split("\n") if len(line.strip()) > 8]
    if len(lines) > 3:
        excess = max(excess, (1 - len(set(lines)) / len(lines)) / _REPEATED_LINES)
    if len(_CODE_SIGN.findall(text)) > _CODE_SHARE * len(text):
        excess /= 3
    return min(1.0, max(0.0, 1 - (excess - 1) / 7))


def refusal(e: Exchange) -> float:
    """.1 for an answer that declines in its first 300 characters and says little more, .5 where it goes on."""
    if not phrases.REFUSAL.found(e.answer.lower[:300]):
        return 1.0
    return 0.1 if e.answer.words < 120 else 0.5


def ai_disclaimer(e: Exchange) -> float:
    """.4 where the answer speaks of itself as a language model, unless the prompt asks about such things."""
    if not phrases.AI_DISCLAIMER.found(e.answer.lower):
        return 1.0
    return 0.8 if phrases.ABOUT_AI.search(e.prompt.lower) else 0.4


_ENDS_OPEN = re.compile(
    r"(?:[,:(\[{–—]|\b(?:the|a|an|and|or|but|of|to|in|with|for|that|which|is|are|was|by|as|from|because|y|de|la|el|et"
    r"|le|les|und|der|die|das|ein|eine|di|il|e|и|в|на|не))$",
    re.IGNORECASE,
)
_ENDS_WHOLE = re.compile(r"[.!?…。！？؟।॥՞:;)\]}\"'’”»」』`*_|>~=]$|\d$")


def truncation(e: Exchange) -> float:
    """Whether the answer breaks off.

    .3 for a fence that never closes or a last line that ends in a comma or a word like "the", .6 for a last line of
    prose (10 words and more; a list of names is none) without an end.
    """
    text = e.answer.whole
    if text.count("```") % 2:
        return 0.3
    last = text[-400:].rpartition("\n")[2].strip()
    length = Text(last).words
    if e.answer.words < 12 or length < 4 or "```" in last:
        return 1.0
    if _ENDS_OPEN.search(last[-12:]):
        return 0.3 if length >= 6 else 0.7
    prose = length >= 10 and last.count(",") * 6 < length
    return 0.6 if prose and not _ENDS_WHOLE.search(last[-1:]) else 1.0


def mojibake(e: Exchange) -> float:
    """.8 for one broken character, falling to 0 where one in fifty is."""
    found = len(phrases.MOJIBAKE.findall(e.answer.read))
    return max(0.0, 0.8 - 40 * found / len(e.answer.read)) if found else 1.0


_OPENING = 8  # characters that tell nearly all answers from their prompts


def prompt_echo(e: Exchange) -> float:
    """How much the answer adds where it is its prompt, or opens with it (prompts of six words and more)."""
    if e.answer.lower[:_OPENING] != e.prompt.lower[:_OPENING] or e.prompt.words < 6:
        return 1.0
    prompt, answer = e.prompt.folded, e.answer.folded
    if not answer.startswith(prompt):
        return 1.0
    return min(1.0, 0.05 + 0.95 * (len(answer) - len(prompt)) / len(prompt))


_STEMS = 10
_ON_TOPIC = 0.2
_OFF_TOPIC = 0.4


def relevance(e: Exchange) -> float:
    """Whether the answer takes up what its prompt is about: a gate, 1 once a fifth of the smaller text's stems are.

    Down to .4 where nothing is, and less far down the fewer stems there are to judge by: a label or a number says
    nothing. Nor is anything said where the task is to leave the prompt's language.
    """
    prompt, answer = e.prompt.stems, e.answer.stems
    if not prompt or not answer or phrases.TRANSLATE.found(e.prompt.task):
        return 1.0
    evidence = min(1.0, len(answer) / _STEMS, 2 * len(prompt) / _STEMS)
    for text in e.before:
        prompt = prompt | text.stems
    shared = len(prompt & answer) / min(len(prompt), len(answer), _STEMS)
    return 1 - (1 - _OFF_TOPIC) * evidence * max(0.0, 1 - shared / _ON_TOPIC)


def placeholder(e: Exchange) -> float:
    """0 where the whole answer stands for one that was never written ("<noinput>", "TODO"), .7 with blanks to fill."""
    if len(e.answer.whole) < 80 and phrases.PLACEHOLDER.fullmatch(e.answer.lower):
        return 0.0
    return 0.7 if phrases.BLANK_TO_FILL.found(e.answer.lower) else 1.0


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
