"""The loops over sets of hashes, compiled by numba: which may be alike, which are, which of them stay.

Imported at first use only; `links.py` says what each is for.
"""

import numpy as np
import numpy.typing as npt
from numba import types

from caravan.curate.kernels import Bytes, Hashes, Ints, given, integer, kernel, mix

Floats = npt.NDArray[np.float64]
Cells = npt.NDArray[np.uint32]

_SEED = np.uint64(0x9E6C63D0876A9A47)

_U64, _I64, _F64 = given(types.uint64), given(types.int64), given(types.float64)
_PAGE, _GRID, _CELLS = given(types.uint8, 2), given(types.int64, 2), given(types.uint32)
_OUT_U64, _OUT_I64, _OUT_F64 = types.uint64[::1], types.int64[::1], types.float64[::1]
_OUT_CELLS = types.uint32[::1]


@kernel(types.int64(types.int64))
def _cell_shift(cells: int) -> int:
    """What shifts a hash to the number of its cell, of a power of two."""
    shift = 64
    while cells > 1:
        cells >>= 1
        shift -= 1
    return shift


@kernel(types.void(_U64, _I64, _PAGE, _PAGE, types.int64, types.int64, _OUT_U64))
def sketch(values: Hashes, offsets: Ints, order: Bytes, rank: Bytes, bands: int, rows: int, out: Hashes) -> None:
    """Band labels of each set by one-permutation hashing: text i has `out[i * bands:(i + 1) * bands]`.

    The leading bits of a hash are its slot, the least hash in a slot is the slot's value (Li, Owen and Zhang 2012).
    An empty slot takes the value of the filled one that comes first in an order of its own, the same for all sets
    (Shrivastava 2017): found by probing where most slots are filled, by comparing ranks where few are.
    """
    slots = rank.shape[0]  # 128: as many as seven leading bits tell apart
    slot, filled = np.empty(slots, np.uint64), np.empty(slots, np.int64)
    has = np.empty(slots, np.bool_)
    for text in range(offsets.size - 1):
        has[:] = False
        count = 0
        for i in range(offsets[text], offsets[text + 1]):
            s = integer(values[i] >> np.uint64(57))
            if not has[s]:
                has[s] = True
                slot[s] = values[i]
                filled[count] = s
                count += 1
        if count == 0:
            continue
        for s in range(slots):
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
                donor = integer(order[s, k])
            slot[s] = slot[donor]
        for band in range(bands):
            h = _SEED + np.uint64(band)
            for s in range(band * rows, (band + 1) * rows):
                h = mix(h ^ slot[s])
            out[text * bands + band] = h


@kernel(types.int64(types.int64, types.float64))
def _needed(size: int, limit: float) -> int:
    """How many values of a set, in an order common to all, must hold one of any set at `limit` from it."""
    most: int = size - integer(np.ceil(limit * size - 1e-6)) + 1
    return most


@kernel(types.void(_U64, types.int64, types.int64, _CELLS, types.int64, _OUT_I64, _OUT_I64))
def _rarest(values: Hashes, start: int, stop: int, cells: Cells, count: int, place: Ints, out: Ints) -> None:
    """Where the `count` rarest of values[start:stop] lie, rarest first: in the order (class of frequency, value)."""
    shift = np.uint64(_cell_shift(cells.size))
    place[:] = 0
    for turn in range(2):  # count the classes, then give each value its place in the order
        for i in range(start, stop):
            level, part = 0, integer(cells[values[i] >> shift])
            while part >= 16:
                part >>= 1
                level += 1
            kind = min(8 * level + part, 255)
            if turn == 0:
                place[kind + 1] += 1
                continue
            if place[kind] < count:
                out[place[kind]] = i
            place[kind] += 1
        if turn == 0:
            for kind in range(256):
                place[kind + 1] += place[kind]


@kernel(types.int64(_U64, _I64, types.float64, _OUT_CELLS, _OUT_I64, _OUT_U64))
def prefix(values: Hashes, offsets: Ints, floor: float, cells: Cells, row: Ints, bucket: Hashes) -> int:
    """The rarest values of each set, as many as a set at `floor` must share one of; returns how many were written.

    Frequencies are counted in `cells`, zeros at first: a value that is alone in its cell is in one set only.
    """
    shift = np.uint64(_cell_shift(cells.size))
    longest = 0
    for i in range(values.size):
        cells[values[i] >> shift] += 1
    for text in range(offsets.size - 1):
        longest = max(longest, offsets[text + 1] - offsets[text])
    place, chosen = np.empty(257, np.int64), np.empty(longest + 1, np.int64)
    n = 0
    for text in range(offsets.size - 1):
        size = offsets[text + 1] - offsets[text]
        count = min(_needed(size, floor), size)
        _rarest(values, offsets[text], offsets[text + 1], cells, count, place, chosen)
        for i in range(count):
            value = values[chosen[i]]
            if cells[value >> shift] > 1:
                row[n], bucket[n] = text, value
                n += 1
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


@kernel(types.boolean(_I64, _I64, types.int64, types.int64))
def _meet(members: Ints, group: Ints, a: int, b: int) -> bool:
    """Whether two sets share a group; each set's groups ascend."""
    i, j = members[a], members[b]
    while i < members[a + 1] and j < members[b + 1]:
        if group[i] == group[j]:
            return True
        if group[i] < group[j]:
            i += 1
        else:
            j += 1
    return False


@kernel(
    types.void(
        *(_I64, _GRID, _U64, _I64, _I64, _I64, _I64, _F64),
        *(_U64, _I64, _I64, _F64),
        *(_OUT_CELLS, types.int64, types.int64, _OUT_I64, _OUT_I64, _OUT_F64),
    )
)
def greedy(
    order: Ints,
    sets: Ints,
    values: Hashes,
    starts: Ints,
    stops: Ints,
    members: Ints,
    group: Ints,
    limits: Floats,
    beside: Hashes,
    beside_starts: Ints,
    beside_stops: Ints,
    beside_limits: Floats,
    cells: Cells,
    list_bits: int,
    room: int,
    partner: Ints,
    link: Ints,
    similarity: Floats,
) -> None:
    """Fill `partner`, `link` and `similarity` of the rows of `order`: see `links.greedy`.

    Row r has in link l the set `sets[l, r]` (-1: none); set s has `values[starts[s]:stops[s]]` and lies in the groups
    `group[members[s]:members[s + 1]]`. A row meets only kept sets that share one of its rarest values (as `prefix`),
    and of these only such as can still reach the limit when that value is the first they share (Xiao et al. 2008):
    neither a large group nor a long common template makes each row be compared with each. `cells` are zeros, to
    count frequencies in; kept sets hang by their rarest values, `room` in all, on 2 ** list_bits lists. Set s goes with
    `beside[beside_starts[s]:beside_stops[s]]`, which must be alike from `beside_limits[l]` on, or be empty in both.
    """
    shift, list_shift = np.uint64(_cell_shift(cells.size)), np.uint64(64 - list_bits)
    longest = 0
    for a in range(starts.size):
        longest = max(longest, stops[a] - starts[a])
        for i in range(starts[a], stops[a]):
            cells[values[i] >> shift] += 1
    head, after, owner = np.full(1 << list_bits, -1, np.int32), np.empty(room, np.int32), np.empty(room, np.int32)
    position, of = np.empty(room, np.int32), np.empty(room, np.int64)
    reach, smallest = np.zeros(1 << list_bits, np.float32), np.full(1 << list_bits, np.inf, np.float32)
    seen, kept_at = np.full(starts.size, -1, np.int64), np.zeros(starts.size, np.int64)
    row_of, nodes = np.empty(starts.size, np.int64), 0
    place, chosen = np.empty(257, np.int64), np.empty((limits.size, longest + 1), np.int64)
    for at in range(order.size):
        row = order[at]
        best, best_place = -1.0, order.size
        for number in range(limits.size):
            a = sets[number, row]
            if a < 0:
                continue
            size, limit = stops[a] - starts[a], limits[number]
            count = min(_needed(size, limit), size)
            _rarest(values, starts[a], stops[a], cells, count, place, chosen[number])
            for i in range(count):
                value = values[chosen[number, i]]
                if cells[value >> shift] == 1:
                    continue
                on = integer(value >> list_shift) ^ number
                if size > reach[on] or smallest[on] > (size - (1.0 + limit) * i) / limit + 1e-3:
                    continue
                node = head[on]
                while node >= 0:
                    b, at_b, same = owner[node], position[node], values[of[node]] == value
                    node = after[node]
                    if not same or seen[b] == at:
                        continue
                    seen[b] = at
                    needed, b_size = max(limit, best), stops[b] - starts[b]
                    if min(size - i, b_size - at_b) < needed / (1.0 + needed) * (size + b_size) - 1e-6:
                        continue
                    found = jaccard(values, starts[a], stops[a], starts[b], stops[b], needed)
                    if found < 0.0 or not (found > best or kept_at[b] < best_place):
                        continue
                    c, c_stop, d, d_stop = beside_starts[a], beside_stops[a], beside_starts[b], beside_stops[b]
                    alike = (
                        c + d == c_stop + d_stop or jaccard(beside, c, c_stop, d, d_stop, beside_limits[number]) >= 0.0
                    )
                    if alike and _meet(members, group, a, b):
                        best, best_place = found, kept_at[b]
                        partner[row], link[row], similarity[row] = row_of[b], number, found
        if best >= 0.0:
            continue
        for number in range(limits.size):
            a = sets[number, row]
            if a < 0:
                continue
            kept_at[a], row_of[a] = at, row
            size, limit = stops[a] - starts[a], limits[number]
            for i in range(min(_needed(size, limit), size)):
                value = values[chosen[number, i]]
                if cells[value >> shift] == 1:
                    continue
                on = integer(value >> list_shift) ^ number
                owner[nodes], position[nodes], of[nodes], after[nodes] = a, i, chosen[number, i], head[on]
                head[on] = nodes
                nodes += 1
                reach[on] = max(reach[on], (size - (1.0 + limit) * i) / limit + 1e-3)
                smallest[on] = min(smallest[on], size)


@kernel(types.int64(_OUT_I64, types.int64))
def _root(parent: Ints, row: int) -> int:
    while parent[row] != row:
        parent[row] = parent[parent[row]]
        row = parent[row]
    return row


@kernel(types.void(_I64, _I64, _U64, _I64, types.float64, _OUT_I64))
def join(row: Ints, bounds: Ints, values: Hashes, offsets: Ints, limit: float, parent: Ints) -> None:
    """Join in the forest `parent` all rows of one bucket (`row[bounds[b]:bounds[b + 1]]`) that are alike."""
    for bucket in range(bounds.size - 1):
        for i in range(bounds[bucket], bounds[bucket + 1]):
            a = row[i]
            for j in range(i + 1, bounds[bucket + 1]):
                b = row[j]
                low, high = _root(parent, a), _root(parent, b)
                if low == high:
                    continue
                if jaccard(values, offsets[a], offsets[a + 1], offsets[b], offsets[b + 1], limit) >= 0.0:
                    parent[max(low, high)] = min(low, high)


@kernel(types.int64[::1](_OUT_I64))
def roots(parent: Ints) -> Ints:
    """The least row of each row's tree."""
    out = np.empty_like(parent)
    for row in range(parent.size):
        out[row] = _root(parent, row)
    return out
