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


@kernel(types.int64(_U64, types.int64, types.int64, _CELLS, types.int64, _OUT_I64, _OUT_I64))
def _rarest(values: Hashes, start: int, stop: int, cells: Cells, count: int, place: Ints, out: Ints) -> int:
    """Where the `count` rarest of values[start:stop] lie, rarest first: in the order (class of frequency, value).

    Returns how many of them all are alone in their cells, so in no other set.
    """
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
            alone: int = place[2]
    return alone


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


@kernel(types.boolean(_U64, _I64, _I64, types.int64, types.int64, types.float64))
def _alike(values: Hashes, starts: Ints, stops: Ints, a: int, b: int, limit: float) -> bool:
    """Whether two sets have at least the similarity `limit`, or are both empty."""
    if starts[a] == stops[a] and starts[b] == stops[b]:
        return True
    return jaccard(values, starts[a], stops[a], starts[b], stops[b], limit) >= 0.0


@kernel(
    types.int64(
        *(_I64, _GRID, _U64, _I64, _I64, _I64, _I64, given(types.float64, 2)),
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
    cells: Cells,
    list_bits: int,
    room: int,
    partner: Ints,
    link: Ints,
    similarity: Floats,
) -> int:
    """Fill `partner`, `link`, `similarity` of the rows of `order`: see `links.greedy`. Returns how many pairs it met.

    Row r has in link l the set `sets[l, r]` (-1: none); set s has `values[starts[s]:stops[s]]` and lies in the groups
    `group[members[s]:members[s + 1]]`. Of n sets, s + n stands beside s. Two sets are alike from `limits[0, l]` on, if
    what stands beside them is alike from `limits[1, l]` on, or empty for both.

    A row meets only kept sets that share one of its rarest values (as `prefix`), and of these only such as can still
    reach the limit when that value is the first they share (Xiao et al. 2008): neither a large group nor a long common
    template makes each row be compared with each. What stands beside has lists of its own, and a row walks those
    where they are shorter: nor do ten thousand answers to one prompt. `cells` are zeros, to count frequencies in;
    kept sets hang by their rarest values, `room` in all, on 2 ** list_bits lists.
    """
    n, shift, list_shift = starts.size // 2, np.uint64(_cell_shift(cells.size)), np.uint64(64 - list_bits)
    longest = 0
    for s in range(starts.size):
        longest = max(longest, stops[s] - starts[s])
        for i in range(starts[s], stops[s]):
            cells[values[i] >> shift] += 1
    head, length = np.full(1 << list_bits, -1, np.int32), np.zeros(1 << list_bits, np.int32)
    after, owner, position = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.int32)
    of, nodes, pairs = np.empty(room, np.int64), 0, 0
    reach, smallest = np.zeros(1 << list_bits, np.float32), np.full(1 << list_bits, np.inf, np.float32)
    shareable = np.zeros(starts.size, np.int64)
    seen, kept_at, row_of = np.full(starts.size, -1, np.int64), np.zeros(n, np.int64), np.empty(n, np.int64)
    place, chosen = np.empty(257, np.int64), np.empty((2 * sets.shape[0], longest + 1), np.int64)
    counts = np.zeros(2 * sets.shape[0], np.int64)
    for at in range(order.size):
        row = order[at]
        best, best_place = -1.0, order.size
        for number in range(sets.shape[0]):
            a = sets[number, row]
            if a < 0:
                continue
            least_work, side = 0, 0
            for which in range(2):
                s, kind, limit = a + which * n, 2 * number + which, limits[which, number]
                size = stops[s] - starts[s]
                counts[kind] = min(_needed(size, limit), size)
                shareable[s] = size - _rarest(values, starts[s], stops[s], cells, counts[kind], place, chosen[kind])
                work = 0
                for i in range(counts[kind]):
                    on = integer(values[chosen[kind, i]] >> list_shift) ^ kind
                    if size <= reach[on] and smallest[on] <= (size - (1.0 + limit) * i) / limit + 1e-3:
                        work += length[on]
                if which == 0 or (size > 0 and 16 * work < least_work):  # a pair that is met there costs more
                    least_work, side = work, which
            s, kind, limit = a + side * n, 2 * number + side, limits[side, number]
            size = stops[s] - starts[s]
            for i in range(counts[kind] if least_work > 0 else 0):
                value = values[chosen[kind, i]]
                on = integer(value >> list_shift) ^ kind
                if size > reach[on] or smallest[on] > (size - (1.0 + limit) * i) / limit + 1e-3:
                    continue
                node = head[on]
                while node >= 0:
                    t, at_t, same = owner[node], position[node], values[of[node]] == value
                    node = after[node]
                    if not same or seen[t] == at:
                        continue
                    seen[t] = at
                    pairs += 1
                    b, t_size, needed = t % n, stops[t] - starts[t], max(limits[0, number], best)
                    least = needed if side == 0 else limit
                    if min(size - i, t_size - at_t) < least / (1.0 + least) * (size + t_size) - 1e-6:
                        continue
                    both = stops[a] - starts[a] + stops[b] - starts[b]
                    if min(shareable[a], shareable[b]) < needed / (1.0 + needed) * both - 1e-6:
                        continue
                    found = jaccard(values, starts[a], stops[a], starts[b], stops[b], needed)
                    if found < 0.0 or not (found > best or kept_at[b] < best_place):
                        continue
                    if _alike(values, starts, stops, a + n, b + n, limits[1, number]) and _meet(members, group, a, b):
                        best, best_place = found, kept_at[b]
                        partner[row], link[row], similarity[row] = row_of[b], number, found
        if best >= 0.0:
            continue
        for number in range(sets.shape[0]):
            a = sets[number, row]
            if a < 0:
                continue
            kept_at[a], row_of[a] = at, row
            for which in range(2):
                s, kind, limit = a + which * n, 2 * number + which, limits[which, number]
                size = stops[s] - starts[s]
                for i in range(counts[kind]):
                    value = values[chosen[kind, i]]
                    if cells[value >> shift] == 1:
                        continue
                    on = integer(value >> list_shift) ^ kind
                    owner[nodes], position[nodes], of[nodes], after[nodes] = s, i, chosen[kind, i], head[on]
                    head[on] = nodes
                    length[on] += 1
                    nodes += 1
                    reach[on] = max(reach[on], (size - (1.0 + limit) * i) / limit + 1e-3)
                    smallest[on] = min(smallest[on], size)
    return pairs


@kernel(types.int64(_OUT_I64, types.int64))
def _root(parent: Ints, row: int) -> int:
    while parent[row] != row:
        parent[row] = parent[parent[row]]
        row = parent[row]
    return row


@kernel(types.int64(_I64, _I64, _I64, _I64, _U64, _I64, types.float64, _OUT_CELLS, _OUT_I64))
def join(
    row: Ints,
    bounds: Ints,
    bucket: Ints,
    lies: Ints,
    values: Hashes,
    offsets: Ints,
    limit: float,
    cells: Cells,
    parent: Ints,
) -> int:
    """Join in the forest `parent` all rows that share a bucket and are alike. Returns how many pairs were compared.

    Bucket b holds `row[bounds[b]:bounds[b + 1]]`, ascending; row r lies in `bucket[lies[r]:lies[r + 1]]`. `cells` are
    zeros, to count frequencies in: a value that is alone in its cell is in one set only, and cannot be shared.
    """
    shift, pairs = np.uint64(_cell_shift(cells.size)), 0
    for i in range(values.size):
        cells[values[i] >> shift] += 1
    seen, shareable = np.full(lies.size, -1, np.int64), np.zeros(lies.size, np.int64)
    for a in range(lies.size - 1):
        for i in range(offsets[a], offsets[a + 1]):
            shareable[a] += cells[values[i] >> shift] > 1
        size = offsets[a + 1] - offsets[a]
        for at in range(lies[a], lies[a + 1]):
            for i in range(bounds[bucket[at]], bounds[bucket[at] + 1]):
                b = row[i]
                if b >= a:
                    break
                least = limit / (1.0 + limit) * (size + offsets[b + 1] - offsets[b]) - 1e-6
                if seen[b] == a or min(shareable[a], shareable[b]) < least:
                    continue
                seen[b] = a
                low, high = _root(parent, a), _root(parent, b)
                if low == high:
                    continue
                pairs += 1
                if jaccard(values, offsets[a], offsets[a + 1], offsets[b], offsets[b + 1], limit) >= 0.0:
                    parent[max(low, high)] = min(low, high)
    return pairs


@kernel(types.int64[::1](_OUT_I64))
def roots(parent: Ints) -> Ints:
    """The least row of each row's tree."""
    out = np.empty_like(parent)
    for row in range(parent.size):
        out[row] = _root(parent, row)
    return out
