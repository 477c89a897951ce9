"""The loops over the bytes of texts, compiled by numba: tokens, grams, sets. Imported at first use only.

Compiled code is kept in numba's cache: beside this file, or in the user's cache folder where that is read-only.
Every hash is a function of code points alone: no seed, no byte order, the same on every machine.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from numba import njit, types

F = TypeVar("F", bound=Callable[..., Any])
compiler: Any = njit
integer: Any = np.int64  # inside a kernel all whole numbers are of this type
Bytes = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

# What a character does to the tokens around it; `words.py` gives each code point one of these under either rule.
SKIP, BREAK, RUN, SINGLE, MARK, JOIN = range(6)

_START = np.uint64(0x2545F4914F6CDD1D)
_MULTIPLY = np.uint64(0xD6E8FEB86659FD93)
_GRAM = np.uint64(0xA24BAED4963EE407)  # 3 modulo 4: two tokens that change places change the sum
_ROUND1 = np.uint64(0xBF58476D1CE4E5B9)
_ROUND2 = np.uint64(0x94D049BB133111EB)


def kernel(*signature: Any) -> Callable[[F], F]:
    """Compile for one signature (inputs read-only or not); without a folder to cache in, compile in every process."""

    def compiled(function: F) -> F:
        try:
            return compiler(*signature, cache=True, nogil=True, error_model="numpy")(function)  # type: ignore[no-any-return]
        except RuntimeError:  # numba found no folder that it may write to
            return compiler(*signature, nogil=True, error_model="numpy")(function)  # type: ignore[no-any-return]

    return compiled


def given(kind: Any, dimensions: int = 1) -> Any:
    """The type of an array that a kernel only reads."""
    return types.Array(kind, dimensions, "C", readonly=True)


_U8, _U64, _I64 = given(types.uint8), given(types.uint64), given(types.int64)
_TUPLE: Any = types.UniTuple
_OUT_U8, _OUT_U64, _OUT_I64 = types.uint8[::1], types.uint64[::1], types.int64[::1]


@kernel(types.uint64(types.uint64))
def mix(h: Any) -> Any:
    """Spread every bit of a hash over all of it (the finaliser of splitmix64)."""
    h ^= h >> np.uint64(30)
    h *= _ROUND1
    h ^= h >> np.uint64(27)
    h *= _ROUND2
    return h ^ (h >> np.uint64(31))


@kernel(_TUPLE(types.int64, 2)(_U8, types.int64))
def _character(data: Bytes, p: int) -> tuple[int, int]:
    """The code point at byte `p` of valid UTF-8, ASCII lower-cased, and where the next one starts."""
    c = integer(data[p])
    if c < 0x80:
        return (c + 32 if 65 <= c <= 90 else c), p + 1
    if c < 0xE0:
        return ((c & 0x1F) << 6) | (data[p + 1] & 0x3F), p + 2
    if c < 0xF0:
        return ((c & 0x0F) << 12) | ((data[p + 1] & 0x3F) << 6) | (data[p + 2] & 0x3F), p + 3
    high = ((c & 0x07) << 18) | ((data[p + 1] & 0x3F) << 12)
    return high | ((data[p + 2] & 0x3F) << 6) | (data[p + 3] & 0x3F), p + 4


@kernel(types.uint8[::1](_U8, types.int64))
def _plain(table: Bytes, shift: int) -> Bytes:
    """For each byte: what it is lower-cased if it is ASCII and goes on with a run, else 0."""
    plain = np.zeros(256, np.uint8)
    for byte in range(128):
        if (table[byte] >> shift) & 15 == RUN:
            plain[byte] = byte + 32 if 65 <= byte <= 90 else byte
    return plain


@kernel(types.void(_U8, _I64, _U8, types.int64, _OUT_U64, _OUT_I64))
def tokens(data: Bytes, offsets: Ints, table: Bytes, shift: int, out: Hashes, ends: Ints) -> None:
    """The hash of each token of each text, in order; text i has `out[ends[i]:ends[i + 1]]`.

    `table` has two rules a code point, four bits each; `shift` (0 or 4) picks one.
    """
    n = 0
    plain = _plain(table, shift)
    for text in range(offsets.size - 1):
        h, kind = _START, 0  # kind of the token that is open: 0 none, 1 a run, 2 a character of its own
        p, stop = offsets[text], offsets[text + 1]
        while p < stop:
            if kind == 1:
                c = integer(plain[data[p]])
                while c != 0:
                    h = (h ^ np.uint64(c)) * _MULTIPLY
                    p += 1
                    c = integer(plain[data[p]]) if p < stop else 0
                if p == stop:
                    break
            c, p = _character(data, p)
            action = (table[c] >> shift) & 15
            if action == SKIP or (action == JOIN and kind == 0):
                continue
            if action >= MARK:  # or JOIN
                kind = max(kind, 1)
            elif action != RUN or kind != 1:
                if kind != 0:
                    out[n] = mix(h)
                    n += 1
                h, kind = _START, action - BREAK
            if action != BREAK:
                h = (h ^ np.uint64(c)) * _MULTIPLY
        if kind != 0:
            out[n] = mix(h)
            n += 1
        ends[text + 1] = n


@kernel(types.void(_U8, _I64, _U8, _OUT_U8, _OUT_I64))
def squeeze(data: Bytes, offsets: Ints, table: Bytes, out: Bytes, ends: Ints) -> None:
    """The texts lower-cased, white space as single blanks between tokens, invisible characters left out."""
    n = 0
    plain = _plain(table, 0)
    for text in range(offsets.size - 1):
        first, blank = n, False
        p, stop = offsets[text], offsets[text + 1]
        while p < stop:
            if not blank:
                while p < stop and plain[data[p]] != 0:
                    out[n] = plain[data[p]]
                    n += 1
                    p += 1
                if p == stop:
                    break
            c, after = _character(data, p)
            action = table[c] & 15
            if action == BREAK:
                blank = n > first
            elif action != SKIP:
                if blank:
                    out[n] = 32
                    n += 1
                    blank = False
                if c < 0x80:
                    out[n] = c
                    n += 1
                else:
                    for q in range(p, after):
                        out[n] = data[q]
                        n += 1
            p = after
        ends[text + 1] = n


@kernel(types.void(_U64, _I64, types.int64, types.boolean, _OUT_U64, _OUT_I64))
def grams(values: Hashes, offsets: Ints, width: int, whole: bool, out: Hashes, ends: Ints) -> None:
    """Rolling hashes of `width` values in a row; with `whole`, a text with fewer has one hash of all it has."""
    top = np.uint64(1)
    for _ in range(width):
        top *= _GRAM
    n = 0
    for text in range(offsets.size - 1):
        start, stop = offsets[text], offsets[text + 1]
        h = np.uint64(0)
        for i in range(start, stop):
            h = h * _GRAM + values[i]
            if i - start >= width:
                h -= top * values[i - width]
            if i - start >= width - 1:
                out[n] = mix(h)
                n += 1
        if whole and 0 < stop - start < width:
            out[n] = mix(h + np.uint64(stop - start) * _START)
            n += 1
        ends[text + 1] = n


@kernel(types.void(_OUT_U64, _OUT_I64))
def distinct(values: Hashes, offsets: Ints) -> None:
    """Sort each text's hashes and drop repetitions, in place; `offsets` becomes that of the result.

    Hashes are spread evenly, so that their leading bits say about where each belongs; neighbours then change places.
    """
    longest = 0
    for text in range(offsets.size - 1):
        longest = max(longest, offsets[text + 1] - offsets[text])
    place, scratch = np.empty(longest + 1, np.int64), np.empty(longest, np.uint64)
    n, start = 0, 0
    for text in range(offsets.size - 1):
        stop = offsets[text + 1]
        size = stop - start
        place[: size + 1] = 0
        for i in range(start, stop):
            place[integer(((values[i] >> np.uint64(32)) * np.uint64(size)) >> np.uint64(32)) + 1] += 1
        for i in range(size):
            place[i + 1] += place[i]
        for i in range(start, stop):
            cell = integer(((values[i] >> np.uint64(32)) * np.uint64(size)) >> np.uint64(32))
            scratch[place[cell]] = values[i]
            place[cell] += 1
        for i in range(1, size):
            value, j = scratch[i], i
            while j > 0 and scratch[j - 1] > value:
                scratch[j] = scratch[j - 1]
                j -= 1
            scratch[j] = value
        for i in range(size):
            if i == 0 or scratch[i] != scratch[i - 1]:
                values[n] = scratch[i]
                n += 1
        start = stop
        offsets[text + 1] = n
