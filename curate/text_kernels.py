"""The loops over the characters of texts that the quality and language filters need, compiled by numba.

Imported at first use only. Texts come as joined UTF-8 (`joined`); what a character is, a table says that the filter
makes: one byte a code point, the same for an ASCII letter in either case.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from numba import types

from caravan.curate.kernels import Bytes, Hashes, Ints, _character, given, integer, kernel, mix

Grid = npt.NDArray[np.int64]

# Bits of an entry of the quality filter's table. What stands alone (Chinese, Japanese) may be a letter as well.
SPACE, LETTER, DIGIT, ALONE = 1, 2, 4, 8
# Bits of an entry of the language filter's table; those below number the script.
LETTERS, SCRIPT = 64, 63

_RUN, _RUN_ALONE = 12, 4  # characters that count as taken over: two words or so
_STEM, _WORD = 5, 4  # characters of a word that are its stem; a shorter word has none

_START = np.uint64(0x2545F4914F6CDD1D)
_MULTIPLY = np.uint64(0xD6E8FEB86659FD93)
_GRAM = np.uint64(0xA24BAED4963EE407)
_TAKEN = np.uint64(1 << 63)

_U8, _U64, _I64, _BITS = given(types.uint8), given(types.uint64), given(types.int64), given(types.boolean)
_OUT_U64, _OUT_I64, _OUT_GRID = types.uint64[::1], types.int64[::1], types.int64[:, ::1]


def joined(texts: pl.Series) -> tuple[Bytes, Ints]:
    """Texts (no nulls) as UTF-8, one after another, and where each begins and the last one ends."""
    column = texts.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, data = column.buffers()
    return np.frombuffer(data, np.uint8), np.frombuffer(offsets, np.int64)[column.offset :][: len(texts) + 1]


@kernel(types.void(_U8, _I64, _U8, _OUT_I64, _OUT_GRID))
def census(data: Bytes, offsets: Ints, table: Bytes, letters: Ints, scripts: Grid) -> None:
    """How many characters of each text are letters, and how many are of each script."""
    for text in range(offsets.size - 1):
        p, stop = offsets[text], offsets[text + 1]
        while p < stop:
            c, p = _character(data, p)
            scripts[text, table[c] & SCRIPT] += 1
            if table[c] & LETTERS:
                letters[text] += 1


@kernel(types.void(_U8, _I64, _U8, _OUT_I64, _OUT_I64))
def words(data: Bytes, offsets: Ints, table: Bytes, spaced: Ints, alone: Ints) -> None:
    """How many words between white space each text has, and how many characters that stand alone."""
    for text in range(offsets.size - 1):
        p, stop = offsets[text], offsets[text + 1]
        space = 1
        while p < stop:
            c, p = _character(data, p)
            kind = table[c]
            spaced[text] += space & ~kind & SPACE
            space = kind & SPACE
            if kind & ALONE:
                alone[text] += 1


@kernel(types.int64(_OUT_U64, types.int64, types.uint64))
def _cell(values: Hashes, cells: int, value: Any) -> Any:
    """Where a hash is in a table, or would be put; the table is its first `cells`, empty at 0."""
    cell = integer(value) & (cells - 1)
    while values[cell] != 0 and values[cell] != value:
        cell = (cell + 1) & (cells - 1)
    return cell


@kernel(types.int64(_OUT_U64, _OUT_I64, types.int64, types.uint64))
def _put(values: Hashes, counts: Ints, cells: int, value: Any) -> Any:
    """Put a hash into a table and say how often it has been put there; the table is its first `cells`, empty at 0."""
    value |= _TAKEN
    cell = _cell(values, cells, value)
    counts[cell] = counts[cell] + 1 if values[cell] == value else 1
    values[cell] = value
    return counts[cell]


@kernel(types.int64(types.int64))
def _room(values: int) -> int:
    """Cells of a table that this many values fill to half at most: a power of two."""
    cells = 16
    while cells < 2 * values:
        cells *= 2
    return cells


@kernel(types.int64(_I64))
def _longest(offsets: Ints) -> int:
    longest = 0
    for text in range(offsets.size - 1):
        longest = max(longest, offsets[text + 1] - offsets[text])
    return longest


@kernel(types.void(_U8, _I64, _U8, _U64, _OUT_U64, _OUT_I64))
def stems(data: Bytes, offsets: Ints, table: Bytes, common: Hashes, out: Hashes, ends: Ints) -> None:
    """The distinct stems of texts in lower case, as hashes; text i has `out[ends[i]:ends[i + 1]]`.

    Stems are the first letters of words, of numbers the first digits, and pairs of characters that stand alone.
    Left out are the `common` ones (sorted).
    """
    room = _room(_longest(offsets) // 2 + 1)
    values, counts = np.empty(room, np.uint64), np.empty(room, np.int64)
    n = 0
    for text in range(offsets.size - 1):
        p, stop = offsets[text], offsets[text + 1]
        cells = _room((stop - p) // 2 + 1)
        values[:cells] = 0
        h, length, kind, before = _START, 0, 0, 0
        while p <= stop:  # one step more than there are characters closes the last word
            now, c = 0, 0
            if p < stop:
                c, p = _character(data, p)
                now = integer(table[c])
            else:
                p += 1
            if kind and now & (LETTER | DIGIT) != kind:
                if (kind == DIGIT or length >= _WORD) and _put(values, counts, cells, mix(h)) == 1:
                    at = np.searchsorted(common, mix(h))
                    if at == common.size or common[at] != mix(h):
                        out[n] = mix(h)
                        n += 1
                h, length = _START, 0
            kind = now & (LETTER | DIGIT)
            if kind:
                if length < _STEM:
                    h = (h ^ np.uint64(c)) * _MULTIPLY
                length += 1
            if before and now & ALONE:
                pair = mix((((_START ^ np.uint64(before)) * _MULTIPLY) ^ np.uint64(c)) * _MULTIPLY)
                if _put(values, counts, cells, pair) == 1:
                    out[n] = pair
                    n += 1
            before = c if now & ALONE else 0
        ends[text + 1] = n


@kernel(types.void(_U64, _I64, _U64, _I64, _BITS, _OUT_I64, _OUT_I64))
def shared(
    prompts: Hashes, asked: Ints, answers: Hashes, answered: Ints, follows: Any, size: Ints, common: Ints
) -> None:
    """How many stems an answer has in common with what it answers: `common[i]` of the `size[i]` of the latter.

    Prompt i has `prompts[asked[i]:asked[i + 1]]`, answer i `answers[answered[i]:answered[i + 1]]`. Where answer i
    `follows` the one before it, that one and its prompt count as asked too.
    """
    room = _room(2 * (_longest(asked) + _longest(answered)))
    values, counts = np.empty(room, np.uint64), np.empty(room, np.int64)
    for i in range(follows.size):
        first = i - 1 if follows[i] else i
        cells = _room(asked[i + 1] - asked[first] + answered[i + 1] - answered[first])
        values[:cells] = 0
        for s in range(asked[first], asked[i + 1]):
            size[i] += _put(values, counts, cells, prompts[s]) == 1
        for s in range(answered[first], answered[i]):
            size[i] += _put(values, counts, cells, answers[s]) == 1
        for s in range(answered[i], answered[i + 1]):
            common[i] += _put(values, counts, cells, answers[s]) > 1


@kernel(types.void(_U8, _I64, _U8, _I64, _OUT_I64, _OUT_I64, _OUT_GRID, _OUT_GRID))
def repeats(
    data: Bytes, offsets: Ints, table: Bytes, widths: Ints, units: Ints, dense: Ints, most: Grid, kinds: Grid
) -> None:
    """How texts in lower case repeat their n-grams of `units`: words, and characters that stand alone.

    `dense[i]` is 2 where most units of text i are such characters, else 1: `widths[k]` times that is n. `most[i, k]`
    is how often its commonest n-gram occurs, `kinds[i, k]` how many different ones there are.
    """
    room = _room(_longest(offsets))
    values, counts = np.empty(room, np.uint64), np.empty(room, np.int64)
    hashes = np.empty(room, np.uint64)
    for text in range(offsets.size - 1):
        p, stop = offsets[text], offsets[text + 1]
        n, alone, h, inside = 0, 0, _START, False
        while p < stop:
            c, p = _character(data, p)
            kind = table[c]
            if inside and (kind & ALONE or not kind & (LETTER | DIGIT)):
                hashes[n] = mix(h)
                n += 1
                h, inside = _START, False
            if kind & ALONE:
                hashes[n] = mix((_START ^ np.uint64(c)) * _MULTIPLY)
                n += 1
                alone += 1
            elif kind & (LETTER | DIGIT):
                h, inside = (h ^ np.uint64(c)) * _MULTIPLY, True
        if inside:
            hashes[n] = mix(h)
            n += 1
        units[text], dense[text] = n, 2 if alone * 2 > n else 1
        cells = _room(n)
        for k in range(widths.size):
            values[:cells] = 0
            width = widths[k] * dense[text]
            top = np.uint64(1)
            for _ in range(width):
                top *= _GRAM
            h = np.uint64(0)
            for i in range(n):
                h = h * _GRAM + hashes[i]
                if i >= width:
                    h -= top * hashes[i - width]
                if i >= width - 1:
                    times = _put(values, counts, cells, mix(h))
                    most[text, k] = max(most[text, k], times)
                    kinds[text, k] += times == 1


@kernel(types.int64(_U8, types.int64, types.int64, _OUT_I64, types.int64))
def _decoded(data: Bytes, p: int, stop: int, out: Ints, n: int) -> int:
    """Put the characters of a text into `out` from `n` on, white space as one blank; says where they end."""
    blank = True
    while p < stop:
        c, p = _character(data, p)
        space = c == 32 or (9 <= c <= 13)
        if not (space and blank):
            out[n] = 32 if space else c
            n += 1
        blank = space
    return n


@kernel(types.void(_OUT_I64, types.int64, types.int64, _OUT_U64))
def _runs(text: Ints, n: int, run: int, out: Hashes) -> None:
    """The hash of the run of so many characters that begins at each place, for places where one fits."""
    top, h = np.uint64(1), np.uint64(0)
    for _ in range(run):
        top *= _GRAM
    for i in range(n):
        h = h * _GRAM + np.uint64(text[i])
        if i >= run:
            h -= top * np.uint64(text[i - run])
        if i >= run - 1:
            out[i - run + 1] = mix(h) | _TAKEN


@kernel(types.void(_U8, _I64, _U8, _I64, _BITS, _U8, _OUT_I64, _OUT_I64))
def news(
    asked: Bytes, asks: Ints, said: Bytes, says: Ints, follows: Any, table: Bytes, added: Ints, taken: Ints
) -> None:
    """What answers say that was not said before: the steps of a Lempel-Ziv parse of each after what it answers.

    A step either takes over a run of `_RUN` characters and more that stands earlier, in the answer or in what it
    answers (`taken` counts these), or adds one character (`added`; one that stands alone counts for three). Where
    answer i `follows` the one before it, that one and its prompt were said before too.
    """
    room = 2 * (_longest(asks) + _longest(says))
    text, hashes = np.empty(room, np.int64), np.empty((2, room), np.uint64)
    runs, places = np.empty(_room(room), np.uint64), np.empty(_room(room), np.int64)
    for i in range(follows.size):
        n = 0
        if follows[i]:
            n = _decoded(asked, asks[i - 1], asks[i], text, n)
            n = _decoded(said, says[i - 1], says[i], text, n)
        n = _decoded(asked, asks[i], asks[i + 1], text, n)
        at, noted = n, 0
        n = _decoded(said, says[i], says[i + 1], text, n)
        _runs(text, n, _RUN, hashes[0])
        _runs(text, n, _RUN_ALONE, hashes[1])
        cells = _room(n)
        runs[:cells] = 0
        while at < n:
            while noted < at:  # where each run began last
                alone = table[text[noted]] & ALONE != 0
                if noted + (_RUN_ALONE if alone else _RUN) <= n:
                    h = hashes[integer(alone), noted]
                    cell = _cell(runs, cells, h)
                    runs[cell], places[cell] = h, noted
                noted += 1
            alone = table[text[at]] & ALONE != 0
            run, same = _RUN_ALONE if alone else _RUN, 0
            if at + run <= n:
                cell = _cell(runs, cells, hashes[integer(alone), at])
                if runs[cell] != 0:
                    while at + same < n and text[places[cell] + same] == text[at + same]:
                        same += 1
            if same >= run:
                taken[i] += 1
                at += same
            else:
                added[i] += 3 if alone else 1
                at += 1
