"""Answers and the prompts that they answer, as columns: what the quality parts look at.

Texts are read up to `READ` characters; a longer one is judged by its first part, and by its end where that matters.
"""

import re
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from caravan.curate import phrases
from caravan.curate.weights import weights

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

READ = 8_000
_TASK = 300  # characters of a prompt's beginning and end in which its task is looked for
_ABOUT = 2_000  # characters that say what a text is about

SPACE = "".join(c for c in map(chr, range(0x3001)) if c.isspace())
_BLANK = SPACE + "\u200b\u200c\u200d\u2060\ufeff"
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
        kernels.words(*kernels.joined(self.read), table(), spaced, alone)
        return spaced + alone / _CJK_A_WORD

    @cached_property
    def stems(self) -> tuple[npt.NDArray[np.uint64], Ints]:
        """What each is about, as hashes, and where in them those of each text begin and end.

        The first five letters of words of four and more, less the commonest, and of numbers the first five digits;
        where a language is written without spaces, pairs of characters.
        """
        return _stems(self.lower.str.slice(0, _ABOUT), _common())


@cache
def table() -> npt.NDArray[np.uint8]:
    """What each code point is to the kernels, in the words of Python's regular expressions."""
    from caravan.curate import text_kernels as kernels

    kinds = np.zeros(0x110000, np.uint8)
    assigned = "".join(map(chr, range(0x34000)))  # beyond these there are no letters, numbers or white space
    for bit, pattern in (
        (kernels.SPACE, r"\s+"),
        (kernels.LETTER, r"[^\W\d_]+"),
        (kernels.DIGIT, r"\d+"),
        (kernels.ALONE, f"[{_CJK}]+"),
    ):
        for run in re.finditer(pattern, assigned):
            kinds[run.start() : run.end()] |= bit
    return kinds


def _stems(texts: pl.Series, common: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.uint64], Ints]:
    from caravan.curate import text_kernels as kernels

    data, offsets = kernels.joined(texts)
    found, ends = np.empty(data.size, np.uint64), np.zeros(offsets.size, np.int64)
    kernels.stems(data, offsets, table(), common, found, ends)
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

    @cached_property
    def translates(self) -> Flags:
        """Where the prompt asks to leave its language."""
        return phrases.TRANSLATE.found(self.prompts.task)

    @cached_property
    def taken_up(self) -> tuple[Ints, Ints, Ints]:
        """How many stems each prompt has, how many each answer, and how many of the former the answer has too.

        An answer may also take up the exchange before; the prompt has then at least as many as are taken up.
        """
        from caravan.curate import text_kernels as kernels

        of_prompts, of_answers = self.prompts.stems, self.answers.stems
        stems, common = np.zeros((2, self.follows.size), np.int64)
        kernels.shared(*of_prompts, *of_answers, self.follows, stems, common)
        asked = np.diff(of_prompts[1])
        return np.where(self.follows, np.maximum(asked, common), asked), np.diff(of_answers[1]), common


def answers(batch: pl.DataFrame) -> pl.DataFrame:
    """One line an answer, in order: its `row`, the `prompt` before it, the `answer`, and whether it `weighs`."""
    messages = (
        batch.select(
            "messages",
            row=pl.int_range(pl.len()),
            weights=weights(batch["tags"]),
            at=pl.int_ranges(pl.col("messages").list.len()),
        )
        .filter(pl.col("messages").list.len() > 0)
        .explode("messages", "at")
        .unnest("messages")
    )
    speaks = pl.col("role") == "assistant"
    asks = ~pl.col("role").is_in(["assistant", "system"])
    weight = pl.col("weights").list.get(pl.col("at"), null_on_oob=True)
    return (
        messages.with_columns(weighs=weight.ne_missing(0), nth=speaks.cum_sum() - speaks)
        .group_by("row", "nth", maintain_order=True)
        .agg(
            prompt=pl.col("content").filter(asks).str.join("\n"),
            answer=pl.col("content").filter(speaks).first(),
            weighs=pl.col("weighs").last(),
        )
        .filter(pl.col("answer").is_not_null())
    )
