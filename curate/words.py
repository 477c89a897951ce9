"""The one pass over a text's bytes that duplicates and contamination share.

Texts are compared folded: case and compatibility forms are folded for every script (NFKC, full case folding, NFKC),
digits stay (10² is 10^2 and not 102, x₂ is x_2), and characters that show nothing (zero-width ones, soft hyphens, byte
order marks, variation selectors) do not count. Two rules cut a folded text into tokens:

    tokens, for duplicates      maximal runs of what is not Unicode White_Space
    words, for contamination    maximal runs of letters, digits and marks; all else only separates

and under both each character of a script that is written without spaces (Han, kana, Thai, Khmer, ...) is a token of
its own, together with the marks on it.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

Texts: TypeAlias = "Iterable[str | None] | pl.Series | pa.Array | pa.ChunkedArray"
"""Where a function takes texts, it takes these, a few megabytes at a time; a null counts as an empty text."""

ALGORITHM = f"words-2, unicode {unicodedata.unidata_version}"
"""What hashes depend on beside the text: part of the cache key of whatever stores them."""

_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉"
_RAISED_TO = {ord(digit): f"{'^_'[at // 10]}{at % 10}" for at, digit in enumerate(_RAISED)}
_TOKENS, _WORDS = 0, 4  # where in an entry of the table the two rules lie
_BATCH = 1 << 22  # characters that are looked at in one go


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


@dataclass(frozen=True)
class Stems:
    """The stems of the words of texts, in order, one a word of `words`, and the sentence that each stands in.

    Sentences are numbered over all texts. The stem of a word that begins with a digit is odd, all others are even.
    """

    values: npt.NDArray[np.uint64]
    offsets: npt.NDArray[np.int64]
    sentence: npt.NDArray[np.int32]


def fold(text: str) -> str:
    """The text with case and compatibility forms folded, for every script."""
    if text.isascii():
        return text.lower()
    if any(digit in text for digit in _RAISED):
        text = text.translate(_RAISED_TO)
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def shingles(texts: Texts, width: int = 5) -> Shingles:
    """Token n-grams as sets; duplicates compare these. A text of fewer than `width` tokens is one shingle, whole."""
    from caravan.curate import kernels

    values, offsets = [], [np.zeros(1, np.int64)]
    for data, ends in _batches(texts):
        hashes, bounds = _grams(*_hashes(data, ends, _TOKENS), width, whole=True)
        kernels.distinct(hashes, bounds)
        values.append(hashes[: bounds[-1]].copy())
        offsets.append(bounds[1:] + offsets[-1][-1])
    return Shingles(np.concatenate([np.empty(0, np.uint64), *values]), np.concatenate(offsets))


def words(texts: Texts) -> Words:
    """The words (letters and digits) of texts in order; contamination makes its n-grams of these."""
    values, offsets = [], [np.zeros(1, np.int64)]
    for data, ends in _batches(texts):
        hashes, bounds = _hashes(data, ends, _WORDS)
        values.append(hashes.copy())
        offsets.append(bounds[1:] + offsets[-1][-1])
    return Words(np.concatenate([np.empty(0, np.uint64), *values]), np.concatenate(offsets))


def stems(texts: Texts) -> Stems:
    """The stems of the words of texts: five letters, all of a number, two neighbours of a script without spaces."""
    from caravan.curate import rewrite_kernels

    values, offsets, sentence = [np.empty(0, np.uint64)], [np.zeros(1, np.int64)], [np.empty(0, np.int32)]
    for data, ends in _batches(texts):
        room = data.size // 2 + ends.size
        out, number, bounds = np.empty(room, np.uint64), np.empty(room, np.int32), np.zeros(ends.size, np.int64)
        rewrite_kernels.stems(data, ends, _table(), _WORDS, out, number, bounds)
        values.append(out[: bounds[-1]].copy())
        sentence.append(number[: bounds[-1]] + (sentence[-1][-1] if len(sentence[-1]) else np.int32(0)))
        offsets.append(bounds[1:] + offsets[-1][-1])
    return Stems(np.concatenate(values), np.concatenate(offsets), np.concatenate(sentence))


def grams(words: Words, width: int) -> Words:
    """Rolling n-grams: text i has max(0, words - width + 1) hashes, in order of their first word."""
    return Words(*_grams(words.values, words.offsets, width, whole=False))


def digests(texts: Texts) -> npt.NDArray[np.uint64]:
    """A 128-bit hash a text, as (texts, 2): equal for texts that are equal folded, each white space one blank.

    White space at either end does not count. A text without tokens has zeros.
    """
    from caravan.curate import kernels

    parts = [np.empty((0, 2), np.uint64)]
    for data, ends in _batches(texts):
        out, bounds = np.empty(data.size, np.uint8), np.zeros(ends.size, np.int64)
        kernels.squeeze(data, ends, _table(), out, bounds)
        view = out.data
        joined = b"".join(
            blake2b(view[start:stop], digest_size=16).digest() if stop > start else bytes(16)
            for start, stop in pairwise(bounds.tolist())
        )
        parts.append(np.frombuffer(joined, "<u8").astype(np.uint64).reshape(-1, 2))
    return np.concatenate(parts)


def word_spans(text: str) -> list[tuple[int, int]]:
    """Where the words of `words([text])` lie in the text as given: (start, end) in characters, one a word.

    Made for the few rows with hits: it looks at one character at a time. Words that one character folds into (the
    two of a fraction) have the same span.
    """
    from caravan.curate import kernels

    table = _table(text, fold(text))
    spans: list[tuple[int, int]] = []
    growing = ""  # what is open: nothing, a "run", or a "single" character
    for start, end in _atoms(text):
        for character in fold(text[start:end]):
            action = table[ord(character)] >> _WORDS
            if action == kernels.BREAK:
                growing = ""
            elif (action == kernels.RUN and growing == "run") or (action == kernels.JOIN and growing):
                spans[-1] = (spans[-1][0], end)
            elif action in (kernels.RUN, kernels.SINGLE):
                growing = "run" if action == kernels.RUN else "single"
                spans.append((start, end))
    return spans


def _hashes(
    data: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64], rule: int
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    from caravan.curate import kernels

    hashes, bounds = np.empty(data.size // 2 + ends.size, np.uint64), np.zeros(ends.size, np.int64)
    kernels.tokens(data, ends, _table(), rule, hashes, bounds)
    return hashes[: bounds[-1]], bounds


def _grams(
    values: npt.NDArray[np.uint64], offsets: npt.NDArray[np.int64], width: int, *, whole: bool
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    from caravan.curate import kernels

    if width < 1:
        raise ValueError(f"grams of {width} words")
    out, bounds = np.empty(values.size, np.uint64), np.zeros(offsets.size, np.int64)
    kernels.grams(values, offsets, width, whole, out, bounds)
    return out[: bounds[-1]], bounds


def _batches(texts: Texts) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]]:
    """Folded texts as joined UTF-8, with where each ends (after a leading 0), a few megabytes at a time.

    ASCII texts come as they are: kernels lower-case those. Half a surrogate pair is kept as the three bytes it has.
    """
    parts: list[bytes] = []
    size = 0
    for text in _each(texts):
        if text.isascii():
            parts.append(text.encode())
        else:
            folded = fold(text)
            _table(folded)
            parts.append(folded.encode("utf-8", "surrogatepass"))
        size += len(parts[-1])
        if size >= _BATCH:
            yield _packed(parts)
            parts, size = [], 0
    if parts:
        yield _packed(parts)


def _each(texts: Texts) -> Iterator[str]:
    if not hasattr(texts, "__arrow_c_stream__") and not hasattr(texts, "__arrow_c_array__"):
        yield from (text or "" for text in texts)
        return
    import polars as pl

    column = pl.Series(values=texts, dtype=pl.String)
    for start in range(0, len(column), 4096):
        for text in column[start : start + 4096].to_list():
            yield text or ""


def _packed(parts: list[bytes]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    ends = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=ends[1:])
    return np.frombuffer(b"".join(parts), np.uint8), ends


# The scripts whose words are not divided by spaces, as ranges of code points (last one included).
_UNDIVIDED = (
    *((0x0E00, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x17FF)),  # Thai, Lao, Tibetan; Myanmar; Khmer
    *((0x1950, 0x19FF), (0x1A20, 0x1AAF), (0x1B00, 0x1B7F)),  # Tai Le, New Tai Lue; Tai Tham; Balinese
    *((0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3021, 0x312F)),  # Han radicals and marks; kana and bopomofo
    *((0x31A0, 0x31BF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0xA4CF)),  # their extensions; Han; Yi
    *((0xA980, 0xA9FF), (0xAA60, 0xAADF), (0xF900, 0xFAFF)),  # Javanese; Myanmar again, Tai Viet; Han again
    *((0x16FE0, 0x18D8F), (0x1AFF0, 0x1B2FF), (0x20000, 0x3FFFF)),  # Tangut, kana again; Nushu; Han again
)
_WHITE = frozenset(map(chr, (*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029)))
_WHITE |= frozenset("\u202f\u205f\u3000")
_INVISIBLE = frozenset(map(chr, (0x034F, *range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
_INVISIBLE |= frozenset("\u115f\u1160\u17b4\u17b5\u3164\uffa0")  # letters to Unicode, and nothing on paper

_rules = np.zeros(0x110000, np.uint8)
_known: set[int] = set()


def _table(*texts: str) -> npt.NDArray[np.uint8]:
    """Both rules for each code point; sure to be filled in for ASCII and for the characters of the texts.

    It is made by pages of 256 code points when one occurs: all of Unicode would take half a second.
    """
    pages = {0}
    for text in texts:
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        pages.update(np.flatnonzero(np.bincount(codes >> 8)).tolist())
    for page in pages - _known:
        _rules[page << 8 : (page + 1) << 8] = [_entry(code) for code in range(page << 8, (page + 1) << 8)]
        _known.add(page)
    return _rules


def _entry(code: int) -> int:
    from caravan.curate import kernels

    character = chr(code)
    category = unicodedata.category(character)
    if character in _WHITE:
        tokens = words = kernels.BREAK
    elif category == "Cf" or character in _INVISIBLE:
        tokens = words = kernels.SKIP
    elif category[0] == "M":
        tokens, words = kernels.MARK, kernels.JOIN
    elif category[0] in "LN":
        alone = category != "Nd" and any(first <= code <= last for first, last in _UNDIVIDED)
        tokens = words = kernels.SINGLE if alone else kernels.RUN
    else:
        tokens, words = kernels.RUN, kernels.BREAK
    return tokens << _TOKENS | words << _WORDS


def _atoms(text: str) -> Iterator[tuple[int, int]]:
    """The spans of the shortest pieces that fold each by itself: a character with what combines with it."""
    start = 0
    for i in range(1, len(text)):
        if _begins(text[i]):
            yield start, i
            start = i
    if text:
        yield start, len(text)


@cache
def _begins(character: str) -> bool:
    """Whether nothing before this character can change what it folds to, nor it what they fold to."""
    forms = (unicodedata.normalize("NFKD", form)[:1] for form in (character, character.casefold(), fold(character)))
    return all(not unicodedata.combining(form) and form not in _seconds() for form in forms)


@cache
def _seconds() -> frozenset[str]:
    """The characters that may compose with one before them."""
    hangul = map(chr, (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)))
    pairs = (unicodedata.decomposition(chr(code)).split() for code in range(0x110000))
    return frozenset(hangul) | {chr(int(pair[1], 16)) for pair in pairs if len(pair) == 2 and pair[0][0] != "<"}
