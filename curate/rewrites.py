"""Which texts hold a benchmark item in other words: retrieval by rare stems, and a decision by words and numbers.

An entry is an item's question, and of a question with a long passage also its last sentence. Retrieval: where in a
text enough of an entry's rarest stems stand close together (`rewrite_kernels.py`). Decision, on the sentences around:

    words      weight of the common stems / (geometric mean of the weights of both texts' stems + SMOOTH)
    numbers    BEHIND for each nat of the numbers in common, less LOST for each number of the item that the text lacks
               and ADDED for each that it adds; of programs nothing, but PROGRAM if the text holds a function
    similarity words + numbers; from SUSPECTED on the text is suspected to hold the item

A stem is a word's first five letters, or two neighbouring characters of a script without spaces. In a benchmark of n
items a stem that k of them have weighs 1 - ln k / ln(n + 1), a stem of no item weighs 1, and common English stems
weigh no more than `common_stems.py` says. Runs of TEMPLATE stems that SEVERAL items have, a task's template or a shared
passage, weigh nothing. SMOOTH asks more of short texts. A number of d significant digits carries d ln 10 nats, less
0.8 as small numbers are frequent, and six at most.

Where the words alone reach ALIKE and other numbers stand for too many of the item's, it is a variant.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import log
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from caravan.curate.benchmarks import Loaded, load_items
from caravan.curate.changed_numbers import is_program
from caravan.curate.common_stems import TENTHS
from caravan.curate.quantities import WORDS, numbers
from caravan.curate.rewrite_kernels import clusters, table, windows
from caravan.curate.short_items import Spans
from caravan.curate.words import Stems, Words, grams, stems

Ints = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float32]
Hashes = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]

SUSPECTED = 0.45
ALIKE = 0.5  # of the words alone: with other numbers, a variant
PROGRAM = 0.08  # what it adds that both are programs
SMOOTH = 1.8
BEHIND = 0.05
FEWEST = 3  # stems that say something, and that a text must share with an item
LOST, ADDED = 3.0, 0.7
MOST, LEAST = 8.0, -12.0  # of the evidence of numbers

SEEDS = 10  # of an entry: its rarest stems, by which it is looked for
FREQUENT, DULL = 200, 0.2  # stems of so many items, or of so little weight, are no seeds
SELDOM, TELLING = 32, 0.55  # but for the first three, seeds are of fewer items, and of more weight
SHARE = 0.22  # of the weight of an entry's seeds that must stand together
_FINE = 1000  # the worth of seeds is counted in whole thousandths
PASSAGE = 60  # words from which on a question's last sentence is looked for by itself
ASKED = 0.5  # of the weight of that sentence that must be there with its passage
TEMPLATE, SEVERAL = 6, 4  # stems in a row that so many items of a benchmark have say nothing of any of them


@dataclass(frozen=True)
class Index:
    """Entries: text, the number of its item over all benchmarks, its benchmark's number, numbers, whether a program.

    Entry e has the distinct stems `own[offsets[e]:offsets[e + 1]]` of `weight`. Benchmark b has the stems
    `known[known_offsets[b]:known_offsets[b + 1]]`. The rest is what the kernels look up (see there).
    """

    texts: list[str]
    item: Ints
    bench: Ints
    values: list[Counter[float]]
    code: Flags
    own: Hashes
    offsets: Ints
    weight: Reals
    width: npt.NDArray[np.int32]
    least: Reals
    told: Reals
    spelled: Reals
    known: Hashes
    known_weight: Reals
    known_offsets: Ints
    tail: Ints
    seeds: "Seeds"


class Seeds(NamedTuple):
    """What `clusters` looks up, in the order in which it takes it."""

    keys: Hashes
    numbers: npt.NDArray[np.int32]
    bloom: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int32]
    posting: Ints
    limits: npt.NDArray[np.int32]


class Suspect(NamedTuple):
    """Characters `start` to `end` of text `text` say what item `item` says; `variant`: with other numbers."""

    text: int
    start: int
    end: int
    item: int
    similarity: float
    variant: bool


class Found(NamedTuple):
    """Characters `start` to `end` of text `text` are known to be those of item `item` of benchmark `bench`."""

    text: int
    start: int
    end: int
    item: int
    bench: int


@lru_cache(maxsize=4)
def index_of(choice: str) -> Index:
    """The index of a choice of benchmarks (`benchmarks.load_items`); built once in a process."""
    return build(load_items(choice))


def build(benchmarks: Sequence[Loaded]) -> Index:
    """Index the items of the benchmarks."""
    questions = [item.question for b in benchmarks for item in b.items]
    asked = stems(questions)
    long = np.flatnonzero(np.diff(asked.offsets) >= PASSAGE).tolist()
    tails = [(i, tail) for i in long if (tail := _last_sentence(questions[i]))]
    texts = questions + [tail for _, tail in tails]
    item = np.array([*range(len(questions)), *(i for i, _ in tails)], dtype=np.int64)
    bench = np.repeat(np.arange(len(benchmarks)), [len(b.items) for b in benchmarks])[item]
    code = np.array([is_program(text) for text in texts], dtype=np.bool_)
    made = stems([_EXAMPLES.sub("", text) if code[e] else text for e, text in enumerate(texts)])
    length = np.diff(made.offsets)
    entry, own = _distinct(np.repeat(np.arange(len(texts)), length), made.values)
    whole = entry < len(questions)
    weight, seldom = _weights(own, entry, bench, whole, _sizes(benchmarks))
    usual_stems, usual_weight = _common()
    weight = np.minimum(weight, _looked_up(own, usual_stems, usual_weight))
    weight[(own & np.uint64(1) == 1) | _in_template(made, bench, entry, own)] = 0
    known_bench, known, known_weight = _known(bench[entry], own, weight, whole, len(benchmarks))
    values = [Counter(n.value for n in numbers(text)) for text in texts]
    several = ~code & np.array([sum(v.values()) > 1 for v in values], dtype=np.bool_)
    told = _told(texts, entry, own)
    worth = [sum(information(value) * n for value, n in v.items()) for v in values]
    spelled = np.maximum(0, worth - np.bincount(entry, told, minlength=len(texts))).astype(np.float32)
    total = np.bincount(entry, weight, minlength=len(texts)).astype(np.float64)
    share = np.where(several, SHARE, np.maximum(SHARE, _least_share(total)))
    least = SUSPECTED - np.where(several, BEHIND * MOST, np.where(code, PROGRAM, 0.0)).astype(np.float32)
    return Index(
        texts=texts,
        item=item,
        bench=bench,
        values=values,
        code=code,
        own=own,
        offsets=np.searchsorted(entry, np.arange(len(texts) + 1)),
        weight=weight,
        width=(1.7 * length + 6).astype(np.int32),
        least=least,
        told=told,
        spelled=np.where(code, np.float32(-1), spelled),
        known=known,
        known_weight=known_weight,
        known_offsets=np.searchsorted(known_bench, np.arange(len(benchmarks) + 1)),
        tail=_tails(item, len(questions)),
        seeds=_seeds(entry, own, seldom, weight, share, length),
    )


def _tails(item: Ints, questions: int) -> Ints:
    """Of each entry that is a question with a passage the entry that is its last sentence, else -1."""
    tail = np.full(len(item), -1, dtype=np.int64)
    tail[item[questions:]] = np.arange(questions, len(item))
    return tail


def _least_share(total: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The least share of an entry's weight that a text must hold to be suspected for its words alone.

    Where the text holds nothing else: the s with s = SUSPECTED (sqrt(total s) + SMOOTH), over the total.
    """
    root = (SUSPECTED * np.sqrt(total) + np.sqrt(SUSPECTED**2 * total + 4 * SUSPECTED * SMOOTH)) / 2
    return np.minimum(1.0, root**2 / np.maximum(total, 1e-9))


def _told(texts: Sequence[str], entry: Ints, own: Hashes) -> Reals:
    """What each stem that is a number tells, 0 for all others."""
    at = np.flatnonzero(own & np.uint64(1) == 1)
    digits = {digit for e in np.unique(entry[at]).tolist() for digit in _RUN.findall(texts[e])}
    names = sorted(digits)
    hashes = stems(names)
    single = np.flatnonzero(np.diff(hashes.offsets) == 1)
    value = {
        int(hashes.values[hashes.offsets[i]]): information(float(re.sub(r"\D", "", names[i])[:15] or 0)) for i in single
    }
    told = np.zeros(len(own), dtype=np.float32)
    told[at] = [value.get(stem, 1.0) for stem in own[at].tolist()]
    return told


_RUN = re.compile(r"\d\w*")


def _in_template(made: Stems, bench: Ints, entry: Ints, own: Hashes) -> Flags:
    """Which stems of each entry stand only in runs of TEMPLATE stems that several items of the benchmark have.

    So does the passage that several questions share: it is no item.
    """
    runs = grams(Words(made.values, made.offsets), TEMPLATE)
    run_entry = np.repeat(np.arange(len(bench)), np.diff(runs.offsets))
    keys = runs.values ^ (bench[run_entry].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    distinct, counts = np.unique(_distinct(run_entry, keys)[1], return_counts=True)
    shared = counts[np.searchsorted(distinct, keys)] >= SEVERAL
    at = (made.offsets[run_entry] + np.arange(len(run_entry)) - runs.offsets[run_entry])[shared]
    covered = np.zeros(len(made.values), dtype=np.bool_)
    for k in range(TEMPLATE):
        covered[at + k] = True
    of_stem = np.repeat(np.arange(len(bench)), np.diff(made.offsets))
    free_entry, free = _distinct(of_stem[~covered], made.values[~covered])
    pairs = set(zip(free_entry.tolist(), free.tolist(), strict=True))
    return np.array([pair not in pairs for pair in zip(entry.tolist(), own.tolist(), strict=True)], dtype=np.bool_)


def _distinct(part: Ints, values: Hashes) -> tuple[Ints, Hashes]:
    """Pairs of a part and a value, sorted, each once."""
    order = np.lexsort((values, part))
    part, values = part[order], values[order]
    fresh = np.append(True, (np.diff(part) != 0) | (values[1:] != values[:-1]))[: len(part)]
    return part[fresh], values[fresh]


def _sizes(benchmarks: Sequence[Loaded]) -> Ints:
    return np.array([len(b.items) for b in benchmarks], dtype=np.int64)


def _weights(own: Hashes, entry: Ints, part: Ints, whole: Flags, sizes: Ints) -> tuple[Reals, Ints]:
    """What each stem weighs in the benchmark of its entry, and how many items of that have it."""
    key = own * np.uint64(2) + part[entry].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    distinct, place = np.unique(key, return_inverse=True)
    count = np.maximum(1, np.bincount(place[whole], minlength=len(distinct))[place])
    weight = np.maximum(0.0, 1 - np.log(count) / np.log1p(sizes[part[entry]]))
    return weight.astype(np.float32), count


def _known(bench: Ints, own: Hashes, weight: Reals, whole: Flags, count: int) -> tuple[Ints, Hashes, Reals]:
    """The stems of each benchmark and all common ones, sorted, with the largest of their weights in the benchmark."""
    common, usual = _common()
    bench = np.append(bench[whole], np.repeat(np.arange(count), len(common)))
    own, weight = np.append(own[whole], np.tile(common, count)), np.append(weight[whole], np.tile(usual, count))
    order = np.lexsort((-weight, own, bench))
    bench, own, weight = bench[order], own[order], weight[order]
    fresh = np.append(True, (np.diff(bench) != 0) | (own[1:] != own[:-1]))[: len(own)]
    return bench[fresh], own[fresh], weight[fresh]


@lru_cache(maxsize=1)
def _common() -> tuple[Hashes, Reals]:
    """Common English stems, sorted, and their weights: words of which numbers are made weigh nothing."""
    listed = [(stem, tenths / 10) for tenths, names in TENTHS.items() for stem in names.split()]
    listed = [(word, 0.0) for word in WORDS] + listed
    values = stems([stem for stem, _ in listed]).values
    sorted_values, first = np.unique(values, return_index=True)
    return sorted_values, np.array([listed[i][1] for i in first], dtype=np.float32)


def _looked_up(values: Hashes, keys: Hashes, weights: Reals) -> Reals:
    """The weight of each value that is a key, 1 for the others."""
    at = np.minimum(np.searchsorted(keys, values), len(keys) - 1)
    return np.where(keys[at] == values, weights[at], np.float32(1))


def _seeds(entry: Ints, own: Hashes, count: Ints, weight: Reals, share: npt.NDArray[np.float64], length: Ints) -> Seeds:
    """What of their weight is needed, of two seeds at least, and the postings of each entry's rarest stems."""
    n = len(share)
    worth = np.where(weight > 0, weight, 1 - np.log(count) / np.log(FREQUENT)).astype(np.float32)  # numbers are seeds
    order = np.lexsort((own, -worth, entry))
    order = order[(worth[order] > DULL) & (count[order] < FREQUENT)]
    rank = np.arange(len(order)) - np.searchsorted(entry[order], entry[order])
    use = (rank < SEEDS) & ((rank < 3) | (worth[order] > TELLING) & (count[order] < SELDOM))
    order, rank = order[use], rank[use]
    total, top = np.bincount(entry[order], worth[order], minlength=n), np.zeros(n)
    np.maximum.at(top, entry[order], worth[order])
    several = np.bincount(entry[order], minlength=n) > 1
    needed = np.where(several, np.maximum(share * total, top + 0.01), np.maximum(total, 0.01))
    limits = np.stack([needed * _FINE, np.maximum(8, length // 2)], axis=1).astype(np.int32)
    vocabulary, word = np.unique(own[order], return_inverse=True)
    by_word = np.argsort(word, kind="stable")
    starts = np.searchsorted(word[by_word], np.arange(len(vocabulary) + 1)).astype(np.int32)
    posting = entry[order] | rank << 32 | (worth[order] * _FINE).astype(np.int64) << 40
    bits = max(10, int(4 * len(vocabulary)).bit_length())
    return Seeds(*table(vocabulary, bits), starts, posting[by_word], limits)


_FUNCTION = re.compile(r"\b(?:def|function|func|fn)\s+\w+\s*[(<]|\w\s*\([^()\n]{0,200}\)[^\n;]{0,60}\{")
"""A function of a program, in whatever language."""

_EXAMPLES = re.compile(r"^[ \t]*>>>.*\n.*$|^[ \t]*(?:for )?examples?\b[^\n]{0,12}:?[ \t]*\n(?s:.*)", re.M | re.I)
"""The examples in a program's documentation: a rewrite has others, and their words say nothing of the task."""

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+|(?<=[。！？।])")


def _last_sentence(question: str) -> str:
    """The last sentence, where it has six words and more and is no program; else an empty text."""
    last = next((part for part in reversed(_SENTENCE.split(question)) if part.strip()), "")
    return last if 6 <= len(last.split()) <= 40 and not is_program(question) else ""


def suspects(
    texts: pl.Series, number: pl.Series, row: Ints, index: Index, known: Mapping[int, Sequence[Found]]
) -> list[Suspect]:
    """What of the texts is an item in other words, by text; text i is `number[i]`, and that of row `row[number[i]]`.

    `known` has what of each row is known to be an item's: such an item is not looked for again in the row, nor others
    of its benchmark where it stands. Of one stretch of a text the item of each benchmark is given that it is most like.
    """
    read = stems(texts)
    entry, first, last = clusters(read.values, read.offsets, *index.seeds)
    text = np.searchsorted(read.offsets, first, side="right") - 1
    reach = index.seeds.limits[entry, 1] * 2
    low, high = np.maximum(first - reach, read.offsets[text]), np.minimum(last + reach + 1, read.offsets[text + 1])
    like, begin, end = windows(
        read.values, read.sentence, entry, low, high, index.own, index.offsets, index.weight, index.width, index.bench,
        index.known, index.known_weight, index.known_offsets, SMOOTH, index.least,
        index.told, index.spelled, (SUSPECTED, BEHIND, MOST, LOST), FEWEST,
    )  # fmt: skip
    keep = np.flatnonzero(like > 0)
    keep = keep[np.lexsort((begin[keep], entry[keep], text[keep]))]
    found: dict[int, list[Suspect]] = {}
    at, content, spans = -1, "", Spans("")
    for c in keep.tolist():
        e, base = int(entry[c]), int(read.offsets[text[c]])
        if text[c] != at:
            at, content = int(text[c]), texts[int(text[c])] or ""
            spans = Spans(content)
        t = int(number[at])
        start, stop = spans[int(begin[c]) - base][0], spans[int(end[c]) - base - 1][1]
        near = (f for f in known.get(int(row[t]), ()) if f.item == index.item[e] or f.bench == index.bench[e])
        if any(f.item == index.item[e] or (f.text == t and f.start < stop and start < f.end) for f in near):
            continue
        one = _judged(index, e, t, float(like[c]), content, content[start:stop])
        if one:
            found.setdefault(t, []).append(one._replace(start=start, end=stop))
    return [one for t in sorted(found) for one in _nearest(found[t], index)]


def _nearest(found: list[Suspect], index: Index) -> Iterator[Suspect]:
    """Of those that overlap the most alike of each benchmark; in the order of the items."""
    taken: list[Suspect] = []
    for one in sorted(found, key=lambda s: (s.variant, -s.similarity, s.item)):
        beside = [other for other in taken if index.bench[other.item] == index.bench[one.item]]
        if not any(o.item == one.item or (o.start < one.end and one.start < o.end) for o in beside):
            taken.append(one)
    return iter(sorted(taken, key=lambda s: s.item))


def _judged(index: Index, e: int, text: int, alike: float, content: str, window: str) -> Suspect | None:
    """Decide by the numbers of the window: a rewrite, a variant, or nothing."""
    ours = index.values[e]
    code = bool(index.code[e])
    theirs = Counter(n.value for n in numbers(window))
    common, lost, added = ours & theirs, sum((ours - theirs).values()), sum((theirs - ours).values())
    evidence = sum(information(value) * n for value, n in common.items()) - LOST * lost - ADDED * added
    if code:
        similarity = alike + PROGRAM * bool(_FUNCTION.search(content))
    else:
        similarity = alike + BEHIND * min(MOST, max(LEAST, evidence))
    if not code and lost and added and 2 * lost > sum(common.values()) // 2:
        variant, similarity = True, alike if alike >= ALIKE else 0.0
    else:
        variant = False
    if similarity < SUSPECTED or not _asked(index, int(index.tail[e]), window):
        return None
    return Suspect(text, 0, 0, int(index.item[e]), round(min(1.0, similarity), 4), variant)


def _asked(index: Index, tail: int, window: str) -> bool:
    """Whether a text that holds a passage asks what the item asks of it; `tail` -1: there is no passage."""
    if tail < 0:
        return True
    mine = slice(index.offsets[tail], index.offsets[tail + 1])
    there = np.isin(index.own[mine], stems([window]).values)
    return bool(index.weight[mine][there].sum() >= ASKED * index.weight[mine].sum())


def information(value: float) -> float:
    """Nats that two texts' having this number in common is worth."""
    digits = len(f"{value:.9g}".partition("e")[0].replace(".", "").replace("-", "").strip("0"))
    return min(6.0, max(1, digits) * log(10) - 0.8)
