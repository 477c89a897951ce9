"""The loops of the similarity pass (`rewrites.py`), compiled by numba. Imported at first use only."""

import numpy as np
import numpy.typing as npt

from caravan.curate.kernels import BREAK, JOIN, MARK, RUN, SKIP, integer, kernel, mix

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Small = npt.NDArray[np.int32]
Reals = npt.NDArray[np.float32]
Hashes = npt.NDArray[np.uint64]

_BLOOM_BITS = 20
_START = np.uint64(0x2545F4914F6CDD1D)
_MULTIPLY = np.uint64(0xD6E8FEB86659FD93)
_LETTERS = 5  # of a word that its stem has
_ENDS = np.array([0x0A, 0x21, 0x3F, 0x3002, 0xFF01, 0xFF1F, 0x061F, 0x06D4, 0x0964], np.int64)  # of sentences


@kernel()
def stems(data: Bytes, offsets: Ints, table: Bytes, shift: int, out: Hashes, sentence: Small, ends: Ints) -> None:
    """The stem of each word, odd for a word that begins with a digit, and the number of the sentence that it is in.

    Words are cut as `kernels.tokens` cuts them. A stem is a word's first letters, all of a number, or two neighbours
    of a script without spaces (the last one alone).
    """
    n = 0
    number = 0
    for text in range(offsets.size - 1):
        first = n
        number += 1
        h, kind, length, digit = _START, 0, 0, False
        p, stop = offsets[text], offsets[text + 1]
        before = -1  # the single character that may be joined with the next one
        while p <= stop:
            c, after, action = 0x0A, p + 1, BREAK
            if p < stop:
                c = integer(data[p])
                if c < 0x80:
                    if 65 <= c <= 90:
                        c += 32
                elif c < 0xE0:
                    c, after = ((c & 0x1F) << 6) | (data[p + 1] & 0x3F), p + 2
                elif c < 0xF0:
                    c, after = ((c & 0x0F) << 12) | ((data[p + 1] & 0x3F) << 6) | (data[p + 2] & 0x3F), p + 3
                else:
                    c = ((c & 0x07) << 18) | ((data[p + 1] & 0x3F) << 12) | ((data[p + 2] & 0x3F) << 6)
                    c, after = c | (data[p + 3] & 0x3F), p + 4
                action = integer((table[c] >> shift) & 15)
            follow, p = p + 1, after
            if action == SKIP or (action == JOIN and kind == 0):
                continue
            if action >= MARK:
                kind = max(kind, 1)
            elif action != RUN or kind != 1:
                if kind != 0:
                    value = mix(h)
                    out[n] = value | np.uint64(1) if digit else value & ~np.uint64(1)
                    sentence[n] = number
                    if before >= 0:
                        out[before] = mix(out[before] * _MULTIPLY + out[n]) & ~np.uint64(1)
                    before = n if kind == 2 else -1
                    n += 1
                h, kind, length, digit = _START, action - BREAK, 0, False
            if action == BREAK:
                before = -1
                stopped = c == 0x2E and (follow >= stop or data[follow] <= 0x20)
                for k in range(len(_ENDS)):
                    stopped |= c == _ENDS[k]
                if stopped and n > first and sentence[n - 1] == number:
                    number += 1
            else:
                if length == 0:
                    digit = 48 <= c <= 57
                if digit or length < _LETTERS:
                    h = (h ^ np.uint64(c)) * _MULTIPLY
                length += 1
        ends[text + 1] = n


@kernel()
def table(values: Hashes, bits: int) -> tuple[Hashes, Small, Bytes]:
    """A hash table of distinct values, none of them 0: keys, the number of each, and which leading bits occur."""
    size = 1 << bits
    keys, numbers = np.zeros(size, np.uint64), np.zeros(size, np.int32)
    bloom = np.zeros(1 << (_BLOOM_BITS - 3), np.uint8)
    for n in range(len(values)):
        place = np.int64((values[n] >> np.uint64(1)) & np.uint64(size - 1))
        while keys[place] != 0:
            place = (place + 1) & (size - 1)
        keys[place], numbers[place] = values[n], n
        head = values[n] >> np.uint64(64 - _BLOOM_BITS)
        bloom[head >> np.uint64(3)] |= np.uint8(1) << np.uint8(head & np.uint64(7))
    return keys, numbers, bloom


@kernel()
def clusters(
    values: Hashes,
    offsets: Ints,
    keys: Hashes,
    numbers: Small,
    bloom: Bytes,
    starts: Small,
    posting: Ints,
    limits: Small,
) -> tuple[Small, Ints, Ints]:
    """Where in the texts enough of an entry's rarest stems stand close together: entry, first and last such stem.

    The postings of stem w are `starts[w]` to `starts[w + 1]`: an entry, which of its seeds the stem is (shifted by 32
    bits), and what that is worth (by 40). Seeds of entry e, each counted once, no two neighbours further apart than
    `limits[e, 1]`, must be worth `limits[e, 0]`.
    """
    # Side by side in memory, as this is where the time goes: text, first and last place, seeds seen and their worth,
    # where it went out (or -1), limits.
    state = np.full((len(limits), 8), -1, np.int32)
    state[:, 6:] = limits
    room = 1024
    out_entry, out_first, out_last = np.zeros(room, np.int32), np.zeros(room, np.int64), np.zeros(room, np.int64)
    found = 0
    mask = np.uint64(len(keys) - 1)
    for text in range(len(offsets) - 1):
        begin = offsets[text]
        for place in range(begin, offsets[text + 1]):
            value = values[place]
            head = value >> np.uint64(64 - _BLOOM_BITS)
            if not bloom[head >> np.uint64(3)] & (np.uint8(1) << np.uint8(head & np.uint64(7))):
                continue
            at = (value >> np.uint64(1)) & mask
            while keys[at] != value and keys[at] != 0:
                at = (at + np.uint64(1)) & mask
            if keys[at] == 0:
                continue
            word = numbers[at]
            here = np.int32(place - begin)
            for k in range(starts[word], starts[word + 1]):
                e = posting[k] & 0xFFFFFFFF
                bit = np.int32(1) << np.int32((posting[k] >> 32) & 0xFF)
                if state[e, 0] != text or here - state[e, 2] > state[e, 7]:
                    state[e, 0], state[e, 1], state[e, 3], state[e, 4], state[e, 5] = text, here, 0, 0, -1
                state[e, 2] = here
                if not state[e, 3] & bit:
                    state[e, 3] |= bit
                    state[e, 4] += np.int32(posting[k] >> 40)
                if state[e, 5] >= 0:
                    out_last[state[e, 5]] = place
                elif state[e, 4] >= state[e, 6]:
                    if found == room:
                        room *= 2
                        out_entry = np.concatenate((out_entry, np.zeros(found, np.int32)))
                        out_first = np.concatenate((out_first, np.zeros(found, np.int64)))
                        out_last = np.concatenate((out_last, np.zeros(found, np.int64)))
                    out_entry[found] = e
                    out_first[found], out_last[found] = begin + state[e, 1], place
                    state[e, 5] = found
                    found += 1
    return out_entry[:found].copy(), out_first[:found].copy(), out_last[:found].copy()


@kernel()
def windows(
    values: Hashes,
    sentence: Small,
    entry: Small,
    low: Ints,
    high: Ints,
    own: Hashes,
    offsets: Ints,
    weight: Reals,
    width: Small,
    bench: Ints,
    known: Hashes,
    known_weight: Reals,
    known_offsets: Ints,
    smooth: float,
    least: Reals,
    told: Reals,
    spelled: Reals,
    rule: tuple[float, float, float, float],
    fewest: int,
) -> tuple[Reals, Ints, Ints]:
    """For each cluster the sentences of `values` between `low` and `high` most like its entry, and how much.

    Entry e has the distinct stems `own[offsets[e]:offsets[e + 1]]`, sorted. The stretch of at most `width[e]` stems
    that shares most is looked for; then the sentences that it lies in (or `width[e]` stems of them on either side) are
    compared, each stem of theirs counted once, with the weights of the benchmark's stems (`known`, sorted), 1 for one
    of no item and 0 for numbers. What shares too little to reach `least[e]` whatever its sentences hold is left at 0,
    and so is what would not be suspected even if its spelled numbers (worth `spelled[e]` at most) were all there; a
    number in digits is worth `told`.
    """
    suspected, behind, most_told, lost = rule
    count = len(entry)
    best, begin, end = np.zeros(count, np.float32), np.zeros(count, np.int64), np.zeros(count, np.int64)
    longest = 1
    for e in range(len(offsets) - 1):
        longest = max(longest, offsets[e + 1] - offsets[e])
    held = np.zeros(longest, np.int32)
    for c in range(count):
        e = entry[c]
        start, size = offsets[e], offsets[e + 1] - offsets[e]
        total = np.float32(0)
        for k in range(size):
            total += weight[start + k]
            held[k] = 0
        hits = np.zeros(high[c] - low[c], np.int64)
        which = np.zeros(high[c] - low[c], np.int32)
        n, left, shared, most = 0, 0, np.float32(0), np.float32(0)
        for place in range(low[c], high[c]):
            a, b = start, start + size
            while a < b:
                middle = (a + b) >> 1
                if own[middle] < values[place]:
                    a = middle + 1
                else:
                    b = middle
            if a == start + size or own[a] != values[place]:
                continue
            k = a - start
            hits[n], which[n] = place, k
            n += 1
            held[k] += 1
            if held[k] == 1:
                shared += weight[a]
            while hits[left] <= place - width[e] or held[which[left]] > 1:
                held[which[left]] -= 1
                if held[which[left]] == 0:
                    shared -= weight[start + which[left]]
                left += 1
            if shared > most:
                most, begin[c], end[c] = shared, hits[left], place + 1
        if most < least[e] * (np.sqrt(total * most) + smooth):
            continue
        first, last = begin[c], end[c]
        while first > max(low[c], begin[c] - width[e]) and sentence[first - 1] == sentence[begin[c]]:
            first -= 1
        while last < min(high[c], end[c] + width[e]) and sentence[last] == sentence[end[c] - 1]:
            last += 1
        begin[c], end[c] = first, last
        stretch = np.sort(values[first:last])
        shared, theirs = np.float32(0), np.float32(0)
        mine, telling = start, 0
        for i in range(len(stretch)):
            value = stretch[i]
            if i > 0 and value == stretch[i - 1]:
                continue
            while mine < start + size and own[mine] < value:
                mine += 1
            if mine < start + size and own[mine] == value:
                shared += weight[mine]
                theirs += weight[mine]
                telling += weight[mine] > 0.25
            elif not value & np.uint64(1):
                a, b = known_offsets[bench[e]], known_offsets[bench[e] + 1]
                stop = b
                while a < b:
                    middle = (a + b) >> 1
                    if known[middle] < value:
                        a = middle + 1
                    else:
                        b = middle
                theirs += known_weight[a] if a < stop and known[a] == value else np.float32(1)
        evidence, asked = 0.0, least[e]
        if spelled[e] >= 0 and least[e] < suspected:
            evidence, asked = spelled[e], suspected
            for k in range(start, start + size):
                if told[k] > 0:
                    at = np.searchsorted(stretch, own[k])
                    evidence += told[k] if at < len(stretch) and stretch[at] == own[k] else -lost
        if telling < fewest - (evidence >= most_told):
            continue
        like = shared / (np.sqrt(total * theirs) + smooth)
        if like + behind * min(most_told, max(0.0, evidence)) >= asked:
            best[c] = like
    return best, begin, end
