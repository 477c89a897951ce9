"""The loops over sets of hashes, compiled by numba: which may be alike, which are, which of them stay.

Imported at first use only; `links.py` says what each is for.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from caravan.curate.kernels import Bytes, Hashes, Ints, given, kernel, mix
from caravan.curate.links import SLOTS

Floats = npt.NDArray[np.float64]

_WORDS = 8  # of a set's parity bits
_SEED = np.uint64(0x9E6C63D0876A9A47)

_U64, _I64, _F64 = given(types.uint64), given(types.int64), given(types.float64)
_PAGE, _GRID = given(types.uint8, 2), given(types.int64, 2)
_OUT_U64, _OUT_I64, _OUT_F64 = types.uint64[::1], types.int64[::1], types.float64[::1]


@kernel(types.void(_U64, _I64, _PAGE, _PAGE, types.int64, types.int64, _OUT_U64))
def sketch(values: Hashes, offsets: Ints, order: Bytes, rank: Bytes, bands: int, rows: int, out: Hashes) -> None:
    """Band labels of each set by one-permutation hashing: text i has `out[i * bands:(i + 1) * bands]`.

    The leading bits of a hash are its slot, the least hash in a slot is the slot's value (Li, Owen and Zhang 2012).
    An empty slot takes the value of the filled one that comes first in an order of its own, the same for all sets
    (Shrivastava 2017): found by probing where most slots are filled, by comparing ranks where few are.
    """
    slot, filled = np.empty(SLOTS, np.uint64), np.empty(SLOTS, np.int64)
    has = np.empty(SLOTS, np.bool_)
    for text in range(offsets.size - 1):
        has[:] = False
        count = 0
        for i in range(offsets[text], offsets[text + 1]):
            s = np.int64(values[i] >> np.uint64(57))
            if not has[s]:
                has[s] = True
                slot[s] = values[i]
                filled[count] = s
                count += 1
        if count == 0:
            continue
        for s in range(SLOTS):
            if has[s]:
                continue
            if count < 12:
                donor = filled[0]
                for k in range(1, count):
                    if rank[s, filled[k]] < rank[s, donor]:
                        donor = filled[k]
            else:
                k = 0
                while not has[order[s, k]]:
                    k += 1
                donor = np.int64(order[s, k])
            slot[s] = slot[donor]
        for band in range(bands):
            h = _SEED + np.uint64(band)
            for s in range(band * rows, (band + 1) * rows):
                h = mix(h ^ slot[s])
            out[text * bands + band] = h


@kernel(types.int64(_U64, _I64, types.float64, types.int64, _OUT_I64, _OUT_U64, _OUT_F64))
def prefix(values: Hashes, offsets: Ints, floor: float, bits: int, row: Ints, bucket: Hashes, upto: Floats) -> int:
    """The rarest values of each set, as many as a set at `floor` must share one of; returns how many were written.

    Any fixed order of all values serves; this one is by (class of frequency, value), frequencies being counted in
    2 ** bits cells. A value that is alone in its cell can have no partner and is left out.
    """
    cells = np.zeros(1 << bits, np.int64)
    shift = np.uint64(64 - bits)
    for i in range(values.size):
        cells[values[i] >> shift] += 1
    place = np.empty(257, np.int64)
    n = 0
    for text in range(offsets.size - 1):
        start, stop = offsets[text], offsets[text + 1]
        size = stop - start
        place[:] = 0
        for turn in range(2):  # count the classes, then give each value its place in the order
            for i in range(start, stop):
                times = cells[values[i] >> shift]
                level, part = 0, times
                while part >= 16:
                    part >>= 1
                    level += 1
                cell = min(8 * level + part, 255)
                if turn == 0:
                    place[cell + 1] += 1
                    continue
                at = place[cell]
                place[cell] += 1
                needed = (size - at) / size  # no pair above this similarity needs the value
                if times > 1 and needed >= floor - 1e-9:
                    row[n], bucket[n], upto[n] = text, values[i], needed
                    n += 1
            if turn == 0:
                for cell in range(256):
                    place[cell + 1] += place[cell]
    return n


@kernel(types.float64(_U64, types.int64, types.int64, types.int64, types.int64, types.float64))
def jaccard(values: Hashes, a: int, a_stop: int, b: int, b_stop: int, needed: float) -> float:
    """The Jaccard similarity of two sorted sets, or -1 as soon as `needed` is out of reach."""
    a_size, b_size = a_stop - a, b_stop - b
    least = needed / (1.0 + needed) * (a_size + b_size) - 1e-6  # of shared values
    a_spare, b_spare = a_size - least, b_size - least
    i, j, shared = a, b, 0
    while i < a_stop and j < b_stop:
        x, y = values[i], values[j]
        i += x <= y
        j += y <= x
        shared += x == y
        if i - a - shared > a_spare or j - b - shared > b_spare:
            return -1.0
    similarity = shared / (a_size + b_size - shared)
    return similarity if similarity >= needed else -1.0


@kernel(types.int64(types.uint64[:, ::1], types.int64, types.int64))
def _apart(parity: Any, a: int, b: int) -> int:
    """A lower bound of how many values lie in one of two sets only: each flips one bit of its set's parity."""
    bits = 0
    for word in range(_WORDS):
        x = parity[a, word] ^ parity[b, word]
        x -= (x >> np.uint64(1)) & np.uint64(0x5555555555555555)
        x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
        x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
        bits += np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))
    return bits


@kernel(types.uint64[:, ::1](_U64, _I64, _I64))
def _parities(values: Hashes, starts: Ints, stops: Ints) -> Any:
    parity = np.zeros((starts.size, _WORDS), np.uint64)
    for number in range(starts.size):
        for i in range(starts[number], stops[number]):
            word = np.int64((values[i] >> np.uint64(6)) & np.uint64(_WORDS - 1))
            parity[number, word] ^= np.uint64(1) << (values[i] & np.uint64(63))
    return parity


@kernel(
    types.void(_I64, _GRID, _U64, _I64, _I64, _I64, _I64, types.int64, _F64, _OUT_I64, _OUT_I64, _OUT_F64),
)
def greedy(
    order: Ints,
    sets: Any,
    values: Hashes,
    starts: Ints,
    stops: Ints,
    members: Ints,
    group: Ints,
    groups: int,
    limits: Floats,
    partner: Ints,
    link: Ints,
    similarity: Floats,
) -> None:
    """Fill `partner`, `link` and `similarity` of the rows of `order`: see `links.greedy`.

    Row r has in link l the set `sets[l, r]` (-1: none); set s has `values[starts[s]:stops[s]]` and lies in the groups
    `group[members[s]:members[s + 1]]`. Kept sets hang on their groups as linked lists, in the order they were kept.
    """
    parity = _parities(values, starts, stops)
    head, tail = np.full(groups, -1, np.int64), np.full(groups, -1, np.int64)
    after, owner = np.full(group.size, -1, np.int64), np.empty(group.size, np.int64)
    seen, place, row_of = (
        np.full(starts.size, -1, np.int64),
        np.zeros(starts.size, np.int64),
        np.empty(starts.size, np.int64),
    )
    for at in range(order.size):
        row = order[at]
        best, best_place = -1.0, order.size
        for number in range(limits.size):
            a = sets[number, row]
            if a < 0:
                continue
            a_size = stops[a] - starts[a]
            for member in range(members[a], members[a + 1]):
                node = head[group[member]]
                while node >= 0:
                    b = owner[node]
                    node = after[node]
                    if best == 1.0 and place[b] >= best_place:
                        break  # whatever hangs behind was kept later still
                    if seen[b] == at:
                        continue
                    seen[b] = at
                    needed = max(limits[number], best)
                    b_size = stops[b] - starts[b]
                    if min(a_size, b_size) < needed * max(a_size, b_size) - 1e-6:
                        continue
                    if _apart(parity, a, b) > (a_size + b_size) * (1.0 - needed) / (1.0 + needed) + 1e-6:
                        continue
                    found = jaccard(values, starts[a], stops[a], starts[b], stops[b], needed)
                    if found >= 0.0 and (found > best or place[b] < best_place):
                        best, best_place = found, place[b]
                        partner[row], link[row], similarity[row] = row_of[b], number, found
        if best >= 0.0:
            continue
        for number in range(limits.size):
            a = sets[number, row]
            if a < 0:
                continue
            place[a], row_of[a] = at, row
            for member in range(members[a], members[a + 1]):
                owner[member] = a
                last = tail[group[member]]
                if last < 0:
                    head[group[member]] = member
                else:
                    after[last] = member
                tail[group[member]] = member
