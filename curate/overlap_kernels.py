"""The loops of `overlap.py`, compiled by numba: seeds of short items, looking up, holding items against texts."""

import numpy as np
import numpy.typing as npt

from caravan.curate.kernels import kernel

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

HEAD_BITS = 18
SPREAD = np.uint64(0x9E3779B97F4A7C15)
GAP = 2
SLIPS = 0.5  # of the weight of a short item: what may be looked at closer whether it is misspelt
_SECOND = np.uint64(0xC2B2AE3D27D4EB4F)


@kernel()
def pairs(values: Hashes, offsets: Ints, reach: int) -> tuple[Hashes, Ints, Ints, Ints]:
    """Each two words of a text that lie at most `reach` apart: hash, text, first and second word counted in the text.

    The hash follows the order of the two, and not how far they are apart.
    """
    size = np.int64(0)
    for text in range(len(offsets) - 1):
        for i in range(offsets[text], offsets[text + 1]):
            size += min(reach, offsets[text + 1] - i - 1)
    key = np.empty(size, dtype=np.uint64)
    of = np.empty((3, size), dtype=np.int64)
    n = 0
    for text in range(len(offsets) - 1):
        start, stop = offsets[text], offsets[text + 1]
        for i in range(start, stop):
            for j in range(i + 1, min(stop, i + reach + 1)):
                key[n] = values[i] + values[j] * _SECOND
                of[0, n], of[1, n], of[2, n] = text, i - start, j - start
                n += 1
    return key, of[0], of[1], of[2]


@kernel()
def seeds(starts: Ints, first: Ints, second: Ints, depth: Ints) -> Bools:
    """Of each entry's pairs, best first, those that find it: whichever `depth[e]` of its words are edited, one is left.

    Pairs of entry e are `starts[e]` on; words of pairs are below 64. The best pair is taken, then the best one without
    its first word and the best one without its second, and so on.
    """
    taken = np.zeros(len(first), dtype=np.bool_)
    for e in range(len(starts) - 1):
        without = [np.int64(0)]
        level = [np.int64(0)]
        n = 0
        while n < len(without):
            for k in range(starts[e], starts[e + 1]):
                both = (np.int64(1) << first[k]) | (np.int64(1) << second[k])
                if not without[n] & both:
                    taken[k] = True
                    if level[n] < depth[e]:
                        for word in (first[k], second[k]):
                            without.append(without[n] | (np.int64(1) << word))
                            level.append(level[n] + 1)
                    break
            n += 1
    return taken


@kernel()
def look_up(mixed: np.uint64, keys: Hashes, heads: Ints, bloom: npt.NDArray[np.uint8], bits: int) -> int:
    """Which key this is, -1 for none; the `bits` leading bits of a key are its place in `bloom`."""
    bit = mixed >> np.uint64(64 - bits)
    if not bloom[bit >> np.uint64(3)] & (np.uint8(1) << np.uint8(bit & np.uint64(7))):
        return -1
    head = np.int64(mixed >> np.uint64(64 - HEAD_BITS))
    for k in range(heads[head], heads[head + 1]):
        if keys[k] == mixed:
            return k
    return -1


@kernel()
def _log2(power: int) -> int:
    bits = 0
    while (1 << bits) < power:
        bits += 1
    return bits


@kernel()
def find(values: Hashes, keys: Hashes, heads: Ints, bloom: npt.NDArray[np.uint8]) -> tuple[Ints, Ints]:
    """Places in `values` whose n-gram is a key, and which key."""
    bits = _log2(8 * len(bloom))
    at = np.empty(len(values), dtype=np.int64)
    key = np.empty(len(values), dtype=np.int64)
    found = 0
    for i in range(len(values)):
        k = look_up(values[i] * SPREAD, keys, heads, bloom, bits)
        if k >= 0:
            at[found], key[found] = i, k
            found += 1
    return at[:found].copy(), key[:found].copy()


@kernel()
def find_pairs(
    values: Hashes, offsets: Ints, reach: int, keys: Hashes, heads: Ints, bloom: npt.NDArray[np.uint8]
) -> tuple[Ints, Ints]:
    """The first word of each pair of words that is a key, and which key; a pair is at most `reach` apart."""
    at = [np.int64(0) for _ in range(0)]
    key = [np.int64(0) for _ in range(0)]
    bits = _log2(8 * len(bloom))
    for text in range(len(offsets) - 1):
        stop = offsets[text + 1]
        for i in range(offsets[text], stop):
            for j in range(i + 1, min(stop, i + reach + 1)):
                k = look_up((values[i] + values[j] * _SECOND) * SPREAD, keys, heads, bloom, bits)
                if k >= 0:
                    at.append(np.int64(i))
                    key.append(np.int64(k))
    return np.array(at, dtype=np.int64), np.array(key, dtype=np.int64)


@kernel()
def align(
    entry: Ints,
    begin: Ints,
    values: Hashes,
    low: Ints,
    high: Ints,
    item_values: Hashes,
    offsets: Ints,
    weight: Floats,
    edits: Ints,
    known: Hashes,
    mark: Hashes,
    least: Floats,
    most: Floats,
) -> tuple[Ints, Ints, Ints]:
    """Entries held against texts: number in `entry`, word and place of each equal word, where enough are equal.

    Entry `entry[h]` is held against the text from place `begin[h]` on, which may be before the text's first word
    `low[h]`. A word may stand as many places off as words may be edited. At most `edits` words may be missing. The
    others must have the share `least[h]` of the weight, and none that is missing may weigh more than `most[h]` times
    the mean, unless beside it there are words that are not `known`, in which a missing word may be misspelt.
    """
    out = [(np.int64(0), np.int64(0), np.int64(0)) for _ in range(0)]
    for h in range(len(entry)):
        e = entry[h]
        first, length = offsets[e], offsets[e + 1] - offsets[e]
        total = weight[first : first + length].sum()
        missing, lost, heaviest, strange = 0, 0.0, 0.0, False
        matched = np.full(length, -1, dtype=np.int64)
        for i in range(length):
            for d in range(2 * edits[e] + 1):
                at = begin[h] + i + ((d + 1) // 2 if d % 2 else -(d // 2))
                if not low[h] <= at < high[h] or values[at] != item_values[first + i]:
                    continue
                # Where nothing is asked of the weight, one word of the text may be two of the item: puzzles repeat.
                if least[h] == 0 or not (matched[max(0, i - 2 * edits[e]) : i] == at).any():
                    matched[i] = at
                    break
            if matched[i] < 0:
                missing += 1
                lost += weight[first + i]
                heaviest = max(heaviest, weight[first + i])
                if missing > edits[e]:
                    break
                for at in range(max(low[h], begin[h] + i - edits[e]), min(high[h], begin[h] + i + edits[e] + 1)):
                    value = values[at] ^ mark[e]
                    k = np.searchsorted(known, value)
                    strange |= k == len(known) or known[k] != value
        enough = lost <= (1 - least[h]) * total and heaviest <= most[h] * total / length
        if missing <= edits[e] and (enough or (strange and lost <= SLIPS * total)):
            for i in range(length):
                if matched[i] >= 0:
                    out.append((np.int64(h), np.int64(i), matched[i]))  # noqa: PERF401 - numba
    made = np.empty((3, len(out)), dtype=np.int64)
    for n in range(len(out)):
        made[0, n], made[1, n], made[2, n] = out[n]
    return made[0], made[1], made[2]


@kernel()
def _behind_edits(
    i: int, at: int, step: int, values: Hashes, low: int, high: int, own: Hashes, first: int, last: int
) -> tuple[int, int, bool]:
    """Where two words in a row are equal again, after the fewest words left out on either side; else False."""
    for edits in range(1, 2 * GAP + 1):
        for a in range(max(0, edits - GAP), min(edits, GAP) + 1):
            j, q = i + a * step, at + (edits - a) * step
            inside = first <= min(j, j + step) and max(j, j + step) <= last
            inside = inside and low <= min(q, q + step) and max(q, q + step) <= high
            if inside and own[j] == values[q] and own[j + step] == values[q + step]:
                return j, q, True
    return i, at, False


@kernel()
def extend(
    entry: Ints, word: Ints, place: Ints, width: int, values: Hashes, low: Ints, high: Ints, own: Hashes, offsets: Ints
) -> tuple[Ints, Ints, Ints]:
    """The equal words beside n-grams of `width` words, on either side, across edits of up to GAP words.

    Hits are sorted by text, entry, place less word, and word. Behind an edit two words in a row must be equal. Gives
    the number of the hit, word and place.
    """
    out = [(np.int64(0), np.int64(0), np.int64(0)) for _ in range(0)]
    for h in range(len(entry)):
        first, last = offsets[entry[h]], offsets[entry[h] + 1] - 1
        for step in (-1, 1):
            to = h + step
            same = 0 <= to < len(entry) and entry[to] == entry[h] and low[to] == low[h]
            if same and word[to] - word[h] == step and place[to] - place[h] == step:
                continue  # the neighbour goes on from here
            far = width if step > 0 else -1
            i, at = first + word[h] + far, place[h] + far
            while True:
                i, at, found = _behind_edits(i, at, step, values, low[h], high[h] - 1, own, first, last)
                if not found:
                    break
                while first <= i <= last and low[h] <= at < high[h] and own[i] == values[at]:
                    out.append((np.int64(h), np.int64(i - first), np.int64(at)))
                    i, at = i + step, at + step
    made = np.empty((3, len(out)), dtype=np.int64)
    for n in range(len(out)):
        made[0, n], made[1, n], made[2, n] = out[n]
    return made[0], made[1], made[2]


@kernel()
def _piece(begin: int, end: int, word: Ints, place: Ints, width: Ints, counts: Floats, length: int) -> float:
    """The largest share of the entry's words that lie in the text as far apart as in the entry, quite the same."""
    shift = place[begin:end] - word[begin:end]
    order = np.argsort(shift)
    most, n = 0, 0
    taken = np.zeros(length, dtype=np.bool_)
    for k in range(len(order)):
        h = begin + order[k]
        if k > 0 and shift[order[k]] != shift[order[k - 1]]:
            taken[:] = False
            n = 0
        if counts[h] == 1:
            for i in range(word[h], word[h] + width[h]):
                n += not taken[i]
                taken[i] = True
        most = max(most, n)
    return most / length


@kernel()
def cover(
    begin: Ints,
    end: Ints,
    entry: Ints,
    word: Ints,
    place: Ints,
    width: Ints,
    counts: Floats,
    offsets: Ints,
    question: Ints,
    weight: Floats,
) -> tuple[Floats, Floats, Ints]:
    """For each run of hits of one row and entry: weighted share of its words, share in one piece, words of the row.

    Of the words of a hit `counts` count. The weighted share is that of the question or that of the whole, whichever is
    less: options alone are no item. In one piece are words between which, in the text, nothing was put in or left out.
    """
    coverage, piece = np.zeros(len(begin)), np.zeros(len(begin))
    covered = np.zeros(len(begin), dtype=np.int64)
    for g in range(len(begin)):
        e = entry[begin[g]]
        taken = np.zeros(offsets[e + 1] - offsets[e])
        reached = np.int64(-1)
        for h in range(begin[g], end[g]):
            for i in range(word[h], word[h] + width[h]):
                taken[i] = max(taken[i], counts[h])
            covered[g] += max(0, place[h] + width[h] - max(reached, place[h]))
            reached = max(reached, place[h] + width[h])
        share = 1.0
        for stop in (question[e], len(taken)):
            total = part = 0.0
            for i in range(stop):
                total += weight[offsets[e] + i]
                part += weight[offsets[e] + i] * taken[i]
            share = min(share, part / total) if total > 0 else share
        coverage[g] = share
        piece[g] = _piece(begin[g], end[g], word, place, width, counts, len(taken))
    return coverage, piece, covered
