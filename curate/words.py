"""The one pass over a text's bytes that duplicates and contamination share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Shingles:
    """Sets of 64-bit hashes, one a text: text i has `values[offsets[i]:offsets[i + 1]]`, sorted and distinct."""

    values: npt.NDArray[np.uint64]
    offsets: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Words:
    """Hashes of the words of texts, in order: text i has `values[offsets[i]:offsets[i + 1]]`, one a word."""

    values: npt.NDArray[np.uint64]
    offsets: npt.NDArray[np.int64]


def shingles(texts: Sequence[str], width: int = 5) -> Shingles:
    """Word n-grams as sets; duplicates compare these."""
    raise NotImplementedError


def words(texts: Sequence[str]) -> Words:
    """The words (letters and digits) of texts in order; contamination makes its n-grams of these."""
    raise NotImplementedError


def grams(words: Words, width: int) -> Words:
    """Rolling n-grams: text i has max(0, words - width + 1) hashes, in order of their first word."""
    raise NotImplementedError


def word_spans(text: str) -> list[tuple[int, int]]:
    """Where the words of `words([text])` lie in the text as given: (start, end) in characters, one a word."""
    raise NotImplementedError
