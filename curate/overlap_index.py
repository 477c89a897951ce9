"""An index of benchmark items: by which words each is found in a text, and what each word of it weighs.

A word weighs ln(1 + 1 / p), where p is the share of items that hold it, inside the item's group (subject, task,
language) as far as the group is large enough to tell, else inside the benchmark; so what is found of one benchmark
does not depend on which others are looked for.

A long item, of twice `width` words and more, is found by its n-grams of `width` words. N-grams that many items of one
benchmark share are its template: they find nothing, and the words that they cover weigh nothing. A long item of which
less than a quarter is left is found by the rarest n-gram of each of its quarters, and only if it is there whole, but
for one word in twice `width`.

A short item is found by pairs of its words, rare ones chosen so that whichever of its words is edited one is left,
and must be there whole, but for an edited word. It is checked if it has three words and more, one of them rare in the
benchmark, or `width` words and more. What is not checked is counted as too short.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from caravan.curate.benchmarks import Loaded, load_items
from caravan.curate.overlap_kernels import HEAD_BITS, SPREAD, pairs, seeds
from caravan.curate.short_items import Spans
from caravan.curate.words import Words, grams, words

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

LEAST = 3
"""An item with fewer words than this is too short to check."""

PARTS = 4
"""An item with fewer words than this, template apart, is not found by parts."""

NEAR = 2
"""How far apart, in words, two words of an item may be to find it."""

SHARED = 16
"""A pair of words that more items of a benchmark share finds none of them."""

ALIKE = 3
"""Items that differ only in what is no word (brackets, signs): more than this must each stand sign for sign."""

BACKGROUND = 100
"""How many items of a benchmark it takes to tell how frequent a word is; in small ones its length says as much."""

GROUP = 100
"""How many items of a group it takes to tell what is usual in it."""


@dataclass(frozen=True)
class Grams:
    """N-grams of `width` words (2: pairs of words), their hashes mixed and sorted.

    Key k is word `word` of entry `entry` of `starts[k]` on. `heads` and `bloom` make looking up fast: where the keys
    with given leading bits begin, and which of 2^24 places are taken at all.
    """

    width: int
    keys: Hashes
    starts: Ints
    entry: Ints
    word: Ints
    heads: Ints
    bloom: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Index:
    """Items of several benchmarks. An entry is one text by which an item is looked for; most items have one.

    `item[e]` is the number of entry e's item over all benchmarks, and `question[e]` how many of its words are the
    question's (the options follow); `weight` is of each of `words`. A word's hash ^ `mark[e]` is one of `known` if
    entry e's benchmark has the word; `checked[i]`: item i can be found. An entry with `whole[e]` must stand in a text
    whole, with at most `edits[e]` of its words edited, and one with `literal[e]` sign for sign.
    """

    texts: list[str]
    item: Ints
    mark: Hashes
    question: Ints
    words: Words
    known: Hashes
    weight: Floats
    checked: Bools
    whole: Bools
    edits: Ints
    literal: Bools
    wide: Grams
    short: Grams


@lru_cache(maxsize=4)
def index_of(choice: str, width: int) -> Index:
    """The index of a choice of benchmarks (`benchmarks.load_items`); built once in a process."""
    return build(load_items(choice), width)


def build(benchmarks: Sequence[Loaded], width: int) -> Index:
    """Index the items of the benchmarks by n-grams of `width` words, short items by pairs of words."""
    texts, item, bench, question = _entries(benchmarks, width)
    made = words(texts)
    lengths, of_word = np.diff(made.offsets), np.repeat(np.arange(len(texts)), np.diff(made.offsets))
    items = np.array([len(b.items) for b in benchmarks])
    counted, alike = _counted(texts, made, item, bench)
    literal = alike > ALIKE
    frequency = _frequency(made.values, of_word, bench, counted)
    usual = _usual(texts, made, lengths < 2 * width)
    share = (frequency + BACKGROUND * usual) / (items[bench[of_word]] + BACKGROUND)
    weight = _weights(made.values, of_word, share, _groups(benchmarks)[item], counted)
    last = np.append(item[1:] != item[:-1], True)[: len(item)]
    long = lengths >= 2 * width

    run = grams(made, width)
    entry = np.repeat(np.arange(len(texts)), np.diff(run.offsets))
    word = np.arange(len(entry)) - run.offsets[entry]
    frequent = _frequency(run.values, entry, bench, counted)
    limits = np.maximum(3, items // [len({i.group for i in b.items}) for b in benchmarks] // 100)
    template = frequent > limits[bench[entry]]
    weighed = weight.copy()
    for k in range(width):
        weighed[(made.offsets[entry] + word + k)[template & long[entry]]] = 0.0
    left = np.bincount(of_word, weighed > 0, minlength=len(texts)) >= np.maximum(PARTS, lengths // 4)
    use = (long & left & ~literal)[entry] & ~template
    parts = _holds(entry[use], len(texts))
    exact = long & ~parts & last
    quarter = 4 * word // np.maximum(1, np.diff(run.offsets))[entry]
    use |= _rarest(frequent, 4 * entry + quarter, exact[entry])
    wide = _lookup(width, run.values[use], entry[use], word[use])
    weight[parts[of_word]] = weighed[parts[of_word]]

    rare = frequency <= np.maximum(3, items // 100)[bench[of_word]]
    own = _holds(of_word[rare], len(texts))
    edits = np.where(long, lengths // (2 * width), np.where(own, np.maximum(1, 4 * lengths // (3 * width)), 0))
    edits[literal] = 0
    short, brief = _short(made, bench, counted, frequency, (own | (lengths >= width)) & ~long, last, edits, width)
    checked = np.zeros(items.sum(), dtype=np.bool_)
    checked[item[parts | exact | brief]] = True
    mark = bench.astype(np.uint64) * SPREAD
    known = np.unique(made.values ^ mark[of_word])
    return Index(texts, item, mark, question, made, known, weight, checked, exact | ~long, edits, literal, wide, short)


def _short(
    made: Words, bench: Ints, counted: Bools, frequency: Ints, some: Bools, last: Bools, edits: Ints, width: int
) -> tuple[Grams, Bools]:
    """The pairs of words by which `some` entries are found, and which entries are.

    Where all pairs are shared by many items, the rarest one finds an item of `width` words and more, `last` of its
    entries, without any edit.
    """
    lengths = np.diff(made.offsets)
    key, entry, word, second = pairs(made.values, made.offsets, NEAR)
    frequent = _frequency(key, entry, bench, counted)
    use = np.flatnonzero((some & (lengths >= LEAST))[entry] & (frequent <= SHARED))
    both = frequency[made.offsets[entry] + word] + frequency[made.offsets[entry] + second]
    use = use[np.lexsort((both[use], frequent[use], entry[use]))]
    use = use[seeds(np.searchsorted(entry[use], np.arange(len(lengths) + 1)), word[use], second[use], edits)]
    found = _holds(entry[use], len(lengths))
    whole = some & ~found & last & (lengths >= width)
    edits[whole] = 0
    use = np.concatenate([use, np.flatnonzero(_rarest(frequent, entry, whole[entry]))])
    return _lookup(2, key[use], entry[use], word[use]), found | whole


def _holds(numbers: Ints, size: int) -> Bools:
    """Of the numbers up to `size` those that are among `numbers`."""
    held = np.zeros(size, dtype=np.bool_)
    held[numbers] = True
    return held


def _groups(benchmarks: Sequence[Loaded]) -> Ints:
    """A number of each item's group (subject, task, language), over all benchmarks."""
    numbers: dict[tuple[str, str], int] = {}
    return np.array([numbers.setdefault((b.name, i.group), len(numbers)) for b in benchmarks for i in b.items])


def _usual(texts: list[str], made: Words, some: Bools) -> Floats:
    """About what share of texts hold each word of `some` texts, 0 for others: short words are the frequent ones.

    So it is in all languages (Zipf, The Psycho-Biology of Language, 1935); here one in ten for two letters more.
    """
    usual = np.zeros(len(made.values))
    for e in np.flatnonzero(some).tolist():
        spans = Spans(texts[e])
        letters = np.array([spans[n][1] - spans[n][0] for n in range(len(spans))], dtype=np.float64)
        usual[made.offsets[e] : made.offsets[e + 1]] = 10.0 ** ((1 - letters) / 2)
    return usual


def _weights(values: Hashes, entry: Ints, share: Floats, group: Ints, counted: Bools) -> Floats:
    """ln(1 + 1 / p) for each word, p the share of items that hold it: of the item's group, smoothed with the
    benchmark's `share` as if that were the share of GROUP more items.
    """
    frequency = _frequency(values, entry, group, counted)
    size = np.bincount(group, counted)[group[entry]]
    return np.log1p((size + GROUP) / (frequency + GROUP * share))


def _rarest(frequent: Ints, part: Ints, among: Bools) -> Bools:
    """Of the n-grams `among` all, for each part, the first of the least frequent ones."""
    some = np.flatnonzero(among)
    order = some[np.lexsort((frequent[some], part[some]))]
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


def _counted(texts: list[str], made: Words, item: Ints, bench: Ints) -> tuple[Bools, Ints]:
    """Which entries count towards the frequency of an n-gram: of each item its longest, of equal texts the first.

    And of each entry the number of different texts of its benchmark that have the same words: rows of brackets, say.
    """
    seen = set[tuple[int, str]]()
    counts = np.zeros(len(item), dtype=np.bool_)
    same: dict[tuple[int, bytes], set[str]] = {}
    ids = []
    for e in range(len(item)):
        text = "".join(texts[e].split())
        ids.append((int(bench[e]), made.values[made.offsets[e] : made.offsets[e + 1]].tobytes()))
        same.setdefault(ids[-1], set()).add(text)
        if e + 1 == len(item) or item[e + 1] != item[e]:
            counts[e] = (int(bench[e]), text) not in seen
            seen.add((int(bench[e]), text))
    return counts, np.array([len(same[words_]) for words_ in ids], dtype=np.int64)


def _frequency(values: Hashes, entry: Ints, bench: Ints, counted: Bools) -> Ints:
    """For each n-gram the number of different texts of its benchmark that hold it."""
    keys = values ^ (bench[entry].astype(np.uint64) * SPREAD)
    distinct, place = np.unique(keys, return_inverse=True)
    of_counted = counted[entry]
    once = np.sort(place[of_counted] * np.int64(len(counted)) + entry[of_counted])
    once = once[np.diff(once, prepend=-1) != 0]  # np.unique would hash, which is slow for such numbers
    return np.bincount(once // len(counted), minlength=len(distinct))[place]


def _lookup(width: int, values: Hashes, entry: Ints, word: Ints) -> Grams:
    mixed = values * SPREAD
    order = np.argsort(mixed, kind="stable")
    keys, starts = np.unique(mixed[order], return_index=True)
    heads = np.searchsorted(keys >> np.uint64(64 - HEAD_BITS), np.arange(2**HEAD_BITS + 1, dtype=np.uint64))
    bits = max(10, (16 * len(keys)).bit_length())
    bloom = np.zeros(2 ** (bits - 3), dtype=np.uint8)
    place = keys >> np.uint64(64 - bits)
    np.bitwise_or.at(bloom, place >> np.uint64(3), np.uint8(1) << (place & np.uint64(7)).astype(np.uint8))
    return Grams(width, keys, np.append(starts, len(order)), entry[order], word[order], heads, bloom)
