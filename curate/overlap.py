"""Which benchmark items share text with which rows: an index of the items' word n-grams, and one scan over rows.

An item of at least twice `width` words is found by its n-grams of `width` words. A shorter one is found by n-grams of
half that width, and then must be there whole: all words in their order, of which one in `width` may be edited, and
of rare words one in one and a half `width`. Of an item with options whose question is that short, the question with
its lettered options is looked for as well.

N-grams that many items of one benchmark share are its template: they find nothing, and in a long item the words that
they cover weigh nothing. Other words weigh ln(1 + items / items with the word), counted inside the benchmark, so that
what is found of one benchmark does not depend on which others are looked for. An item of which less than a
quarter is left is found by the rarest n-gram of each of its quarters, and only if it is there whole, but for one word
in twice `width`. An item that is too short is not checked,
and counted as such.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from caravan.curate.benchmarks import Loaded, load_items
from caravan.curate.kernels import kernel
from caravan.curate.words import Words, grams, words

Ints = npt.NDArray[np.int64]

LEAST = 4
"""An item with fewer words than this, template apart, is too short to check by parts."""

_HEAD_BITS, _BLOOM_BITS = 18, 24
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Grams:
    """N-grams of one width, their hashes mixed and sorted; key k is word `word` of entry `entry` of `starts[k]` on.

    `heads` and `bloom` make looking up fast: where the keys with given leading bits begin, and which of 2^24
    places are taken at all.
    """

    width: int
    keys: npt.NDArray[np.uint64]
    starts: Ints
    entry: Ints
    word: Ints
    heads: Ints
    bloom: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Index:
    """Items of several benchmarks. An entry is one text by which an item is looked for; most items have one.

    `item[e]` is the number of entry e's item over all benchmarks, and `question[e]` how many of its words are the
    question's (the options follow); `weight` and `rare` are of each of `words`; `checked[i]`: item i can be found.
    An entry with `whole[e]` must stand in a text whole, of its words `edits[e]` edited at most, `edits_rare[e]` of
    them rare ones.
    """

    texts: list[str]
    item: Ints
    question: Ints
    words: Words
    weight: npt.NDArray[np.float64]
    rare: npt.NDArray[np.bool_]
    checked: npt.NDArray[np.bool_]
    whole: npt.NDArray[np.bool_]
    edits: Ints
    edits_rare: Ints
    wide: Grams
    narrow: Grams


@dataclass(frozen=True)
class Matches:
    """Rows and entries that share text, sorted by row and item: one entry an item, that with the larger coverage.

    `covered` of the row's words are the item's. What is equal: `width[h]` words from word `word[h]` of the entry and
    from word `place[h]` of all the texts' words, for h from `begin` to `end`.
    """

    row: Ints
    entry: Ints
    coverage: npt.NDArray[np.float64]
    covered: Ints
    begin: Ints
    end: Ints
    word: Ints
    place: Ints
    width: Ints


@lru_cache(maxsize=4)
def index_of(choice: str, width: int) -> Index:
    """The index of a choice of benchmarks (`benchmarks.load_items`); built once in a process."""
    return build(load_items(choice), width)


def build(benchmarks: Sequence[Loaded], width: int) -> Index:
    """Index the items of the benchmarks by n-grams of `width` words, short items by half of it."""
    texts, item, bench, question = _entries(benchmarks, width)
    made = words(texts)
    lengths = np.diff(made.offsets)
    items = np.array([len(b.items) for b in benchmarks])
    limits = np.maximum(3, items // [len({i.group for i in b.items}) for b in benchmarks] // 100)
    counted = _counted(made, item, bench)
    of_word = np.repeat(np.arange(len(texts)), lengths)
    frequency = _frequency(made.values, of_word, bench, counted)
    rare = frequency <= np.maximum(3, items // 100)[bench[of_word]]
    weight = np.log1p(items[bench[of_word]] / frequency)
    plain = weight.copy()
    own = (np.bincount(of_word, rare, minlength=len(texts)) > 0) | (lengths >= 2 * width)
    last = np.append(item[1:] != item[:-1], True)[: len(item)]
    found, exact, lookups = np.zeros(len(texts), dtype=np.bool_), np.zeros(len(texts), dtype=np.bool_), []
    for n, mine in ((width, lengths >= 2 * width), (width // 2, (lengths < 2 * width) & (lengths >= LEAST))):
        run = grams(made, n)
        entry = np.repeat(np.arange(len(texts)), np.diff(run.offsets))
        word = np.arange(len(entry)) - run.offsets[entry]
        frequent = _frequency(run.values, entry, bench, counted)
        template = frequent > limits[bench[entry]]
        if n == width:
            for k in range(n):
                weight[(made.offsets[entry] + word + k)[template & mine[entry]]] = 0.0
        left = np.bincount(of_word, weight > 0, minlength=len(texts)) >= np.maximum(LEAST, lengths // 4)
        use = (mine & left & own)[entry] & ~template
        found[entry[use]] = True
        exact |= mine & ~found & last & (lengths >= width)
        quarter = 4 * word // np.maximum(1, np.diff(run.offsets))[entry]
        use |= _rarest(frequent, 4 * entry + quarter) & (mine & exact)[entry]
        lookups.append(_lookup(n, run.values[use], entry[use], word[use]))
    weight[exact[of_word]] = plain[exact[of_word]]
    checked = np.zeros(items.sum(), dtype=np.bool_)
    checked[item[found | exact]] = True
    edits = np.where(exact, lengths // (2 * width), lengths // width)
    edits_rare = np.where(exact, edits, 2 * lengths // (3 * width))
    whole = exact | (lengths < 2 * width)
    return Index(texts, item, question, made, weight, rare, checked, whole, edits, edits_rare, *lookups)


def _rarest(frequent: Ints, part: Ints) -> npt.NDArray[np.bool_]:
    """Of the n-grams of each part the first of the least frequent ones."""
    order = np.lexsort((frequent, part))
    rarest = np.zeros(len(part), dtype=np.bool_)
    rarest[order[np.flatnonzero(np.diff(part[order], prepend=-1))]] = True
    return rarest


def _entries(benchmarks: Sequence[Loaded], width: int) -> tuple[list[str], Ints, Ints, Ints]:
    """The texts to look for; of each its item (over all benchmarks), its benchmark, and the words of its question."""
    items = [i for b in benchmarks for i in b.items]
    questions = [i.question for i in items]
    lengths = np.diff(words(questions).offsets)
    of_item = np.repeat(np.arange(len(benchmarks)), [len(b.items) for b in benchmarks])
    texts, item = list[str](), list[int]()
    for number, (question, one) in enumerate(zip(questions, items, strict=True)):
        texts.append(question)
        item.append(number)
        if one.choices and lengths[number] < 2 * width:
            options = [f"{chr(65 + n)}. {text}" for n, text in enumerate(one.choices)]
            texts.append("\n".join([question, *options]))
            item.append(number)
    item_of = np.array(item, dtype=np.int64)
    return texts, item_of, of_item[item_of], lengths[item_of]


def _counted(text_words: Words, item: Ints, bench: Ints) -> npt.NDArray[np.bool_]:
    """Which entries count towards the frequency of an n-gram: of each item its longest, of equal texts the first."""
    seen = set[tuple[int, bytes]]()
    counts = np.zeros(len(item), dtype=np.bool_)
    for e in range(len(item)):
        if e + 1 < len(item) and item[e + 1] == item[e]:
            continue
        text = (int(bench[e]), text_words.values[text_words.offsets[e] : text_words.offsets[e + 1]].tobytes())
        counts[e] = text not in seen
        seen.add(text)
    return counts


def _frequency(values: npt.NDArray[np.uint64], entry: Ints, bench: Ints, counted: npt.NDArray[np.bool_]) -> Ints:
    """For each n-gram the number of different texts of its benchmark that hold it."""
    keys = values ^ (bench[entry].astype(np.uint64) * _MIX)
    distinct, place = np.unique(keys, return_inverse=True)
    of_counted = counted[entry]
    pairs = np.sort(place[of_counted] * np.int64(len(counted)) + entry[of_counted])
    pairs = pairs[np.diff(pairs, prepend=-1) != 0]  # np.unique would hash, which is slow for such numbers
    return np.bincount(pairs // len(counted), minlength=len(distinct))[place]


def _lookup(width: int, values: npt.NDArray[np.uint64], entry: Ints, word: Ints) -> Grams:
    mixed = values * _MIX
    order = np.argsort(mixed, kind="stable")
    keys, starts = np.unique(mixed[order], return_index=True)
    heads = np.searchsorted(keys >> np.uint64(64 - _HEAD_BITS), np.arange(2**_HEAD_BITS + 1, dtype=np.uint64))
    bloom = np.zeros(2 ** (_BLOOM_BITS - 3), dtype=np.uint8)
    place = keys >> np.uint64(64 - _BLOOM_BITS)
    np.bitwise_or.at(bloom, place >> np.uint64(3), np.uint8(1) << (place & np.uint64(7)).astype(np.uint8))
    return Grams(width, keys, np.append(starts, len(order)), entry[order], word[order], heads, bloom)


def scan(texts: Words, row: Ints, index: Index, floor: float) -> Matches:
    """All pairs of a row and an item whose coverage is at least `floor` (over 0): weighted share of the item's words.

    `row[t]` is the row of text t, ascending; n-grams never cross from one text into the next, but what a row
    holds of an item is added up over its texts.
    """
    runs = [_hits(texts, index.wide), _hits(texts, index.narrow)]
    entry, word, place = (np.concatenate(two) for two in zip(*runs, strict=True))
    text = np.searchsorted(texts.offsets, place, side="right") - 1
    check = index.whole[entry]
    whole = _whole(
        entry[check],
        word[check],
        place[check],
        texts.values,
        texts.offsets[text[check]],
        texts.offsets[text[check] + 1],
        index.words.values,
        index.words.offsets,
        index.rare,
        index.edits,
        index.edits_rare,
    )
    width = np.repeat([index.wide.width, 1], [len(entry) - check.sum(), len(whole[0])])
    parts = (entry[~check], word[~check], place[~check])
    entry, word, place = (np.concatenate(two) for two in zip(parts, whole, strict=True))
    rows = row[np.searchsorted(texts.offsets, place, side="right") - 1]
    order = np.lexsort((word, place, entry, rows))
    entry, word, place, width, rows = entry[order], word[order], place[order], width[order], rows[order]
    begin = np.flatnonzero(np.diff(entry, prepend=-1) | np.diff(rows, prepend=-1))
    end = np.append(begin[1:], len(entry)) if len(begin) else begin
    coverage, covered = _cover(begin, end, entry, word, place, width, index.words.offsets, index.question, index.weight)
    keep = np.flatnonzero(coverage >= floor)
    item = index.item[entry[begin]]
    keep = keep[np.lexsort((entry[begin][keep], -coverage[keep], item[keep], rows[begin][keep]))]
    pair = np.diff(item[keep], prepend=-1) | np.diff(rows[begin][keep], prepend=-1)
    keep = keep[pair != 0]
    first = begin[keep]
    return Matches(rows[first], entry[first], coverage[keep], covered[keep], first, end[keep], word, place, width)


def _hits(texts: Words, index: Grams) -> tuple[Ints, Ints, Ints]:
    """Entry, word and place of every n-gram of the texts that is in the index."""
    found = grams(texts, index.width)
    at, key = _find(found.values, index.keys, index.heads, index.bloom)
    text = np.searchsorted(found.offsets, at, side="right") - 1
    place = texts.offsets[text] + at - found.offsets[text]
    counts = index.starts[key + 1] - index.starts[key]
    first = np.repeat(index.starts[key] - np.cumsum(counts) + counts, counts)
    where = first + np.arange(counts.sum())
    return index.entry[where], index.word[where], np.repeat(place, counts)


@kernel()
def _find(
    values: npt.NDArray[np.uint64], keys: npt.NDArray[np.uint64], heads: Ints, bloom: npt.NDArray[np.uint8]
) -> tuple[Ints, Ints]:
    """Places in `values` whose n-gram is a key, and which key."""
    at = np.empty(len(values), dtype=np.int64)
    key = np.empty(len(values), dtype=np.int64)
    found = 0
    for i in range(len(values)):
        mixed = values[i] * np.uint64(0x9E3779B97F4A7C15)
        bit = mixed >> np.uint64(64 - _BLOOM_BITS)
        if not bloom[bit >> np.uint64(3)] & (np.uint8(1) << np.uint8(bit & np.uint64(7))):
            continue
        head = np.int64(mixed >> np.uint64(64 - _HEAD_BITS))
        for k in range(heads[head], heads[head + 1]):
            if keys[k] == mixed:
                at[found], key[found] = i, k
                found += 1
                break
    return at[:found].copy(), key[:found].copy()


@kernel()
def _whole(
    entry: Ints,
    word: Ints,
    place: Ints,
    values: npt.NDArray[np.uint64],
    low: Ints,
    high: Ints,
    item_values: npt.NDArray[np.uint64],
    offsets: Ints,
    rare: npt.NDArray[np.bool_],
    edits: Ints,
    edits_rare: Ints,
) -> tuple[Ints, Ints, Ints]:
    """The words of items that stand in a text whole: entry, word and place of each equal word.

    A word may stand as many places off as words may have been edited.
    """
    out = [(np.int64(0), np.int64(0), np.int64(0)) for _ in range(0)]
    for h in range(len(entry)):
        first, length = offsets[entry[h]], offsets[entry[h] + 1] - offsets[entry[h]]
        missing = rarely = 0
        matched = np.full(length, -1, dtype=np.int64)
        for i in range(length):
            for d in range(2 * edits[entry[h]] + 1):
                at = place[h] - word[h] + i + ((d + 1) // 2 if d % 2 else -(d // 2))
                if low[h] <= at < high[h] and values[at] == item_values[first + i]:
                    matched[i] = at
                    break
            missing += matched[i] < 0
            rarely += matched[i] < 0 and rare[first + i]
            if missing > edits[entry[h]]:
                break
        if missing <= edits[entry[h]] and rarely <= edits_rare[entry[h]]:
            for i in range(length):
                if matched[i] >= 0:
                    out.append((entry[h], np.int64(i), matched[i]))  # noqa: PERF401 - numba
    made = np.empty((3, len(out)), dtype=np.int64)
    for n in range(len(out)):
        made[0, n], made[1, n], made[2, n] = out[n]
    return made[0], made[1], made[2]


@kernel()
def _cover(
    begin: Ints,
    end: Ints,
    entry: Ints,
    word: Ints,
    place: Ints,
    width: Ints,
    offsets: Ints,
    question: Ints,
    weight: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], Ints]:
    """For each run of hits of one row and entry: weighted share of the entry's words, and how many words of the row.

    The share is that of the question or that of the whole, whichever is less: options alone are no item.
    """
    coverage = np.zeros(len(begin))
    covered = np.zeros(len(begin), dtype=np.int64)
    for g in range(len(begin)):
        e = entry[begin[g]]
        taken = np.zeros(offsets[e + 1] - offsets[e], dtype=np.bool_)
        reached = np.int64(-1)
        for h in range(begin[g], end[g]):
            taken[word[h] : word[h] + width[h]] = True
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
    return coverage, covered
