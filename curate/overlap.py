"""Which benchmark items share text with which rows: one scan over the words of rows.

What an n-gram of a long item finds is followed to both sides across edits of up to two words. A short item is held
against the text where a pair of its words stands: `curate/short_items.py` says whether it is there. By which words
items are found: `curate/overlap_index.py`.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from caravan.curate.overlap_index import Grams, Index
from caravan.curate.overlap_kernels import align, cover, extend, find, find_pairs
from caravan.curate.short_items import HELD, LOST, Pair, Spans, is_literal, stands, with_slips
from caravan.curate.words import Words, fold, grams

Ints = npt.NDArray[np.int64]

REACH = 3
"""How far apart, in words, the words of a pair may be in a text."""


@dataclass(frozen=True)
class Matches:
    """Rows and entries that share text, sorted by row and item: one entry an item, that with the larger coverage.

    `covered` of the row's words are the item's; `piece` is the share of the item's words that stand in one piece.
    What is equal: `width[h]` words from word `word[h]` of the entry and from word `place[h]` of all the texts' words,
    for h from `begin` to `end`.
    """

    row: Ints
    entry: Ints
    coverage: npt.NDArray[np.float64]
    piece: npt.NDArray[np.float64]
    covered: Ints
    begin: Ints
    end: Ints
    word: Ints
    place: Ints
    width: Ints


class Hits(NamedTuple):
    """`width` words from word `word` of entry `entry` on stand in the texts from word `place` on (whole numbers).

    Of those words `part` counts (a fraction): all, or half of a misspelt one.
    """

    entry: npt.NDArray[Any]
    word: npt.NDArray[Any]
    place: npt.NDArray[Any]
    width: npt.NDArray[Any]
    part: npt.NDArray[Any]


def scan(read: Words, texts: pl.Series, row: Ints, index: Index, floor: float) -> Matches:
    """All pairs of a row and an item whose coverage is at least `floor` (over 0): weighted share of the item's words.

    `read` are the words of `texts`, and `row[t]` is the row of text t, ascending; n-grams never cross from one text
    into the next, but what a row holds of an item is added up over its texts.
    """
    found = grams(read, index.wide.width)
    at, key = find(found.values, index.wide.keys, index.wide.heads, index.wide.bloom)
    text = np.searchsorted(found.offsets, at, side="right") - 1
    entry, word, place = _seen(index.wide, read.offsets[text] + at - found.offsets[text], key)
    at, key = find_pairs(read.values, read.offsets, REACH, index.short.keys, index.short.heads, index.short.bloom)
    pairs_seen = _seen(index.short, at, key)
    check = index.whole[entry]
    whole = _whole(
        read,
        texts,
        index,
        *(np.concatenate([a[check], b]) for a, b in zip((entry, word, place), pairs_seen, strict=True)),
    )
    parts = _parts(read, index, entry[~check], word[~check], place[~check])
    hits = Hits(*(np.concatenate(two) for two in zip(parts, whole, strict=True)))
    rows = row[np.searchsorted(read.offsets, hits.place, side="right") - 1]
    order = np.lexsort((hits.word, hits.place, hits.entry, rows))
    hits, rows = Hits(*(a[order] for a in hits)), rows[order]
    begin = np.flatnonzero(np.diff(hits.entry, prepend=-1) | np.diff(rows, prepend=-1))
    end = np.append(begin[1:], len(rows)) if len(begin) else begin
    coverage, piece, covered = cover(begin, end, *hits, index.words.offsets, index.question, index.weight)
    keep = np.flatnonzero(coverage >= floor)
    entry = hits.entry[begin]
    item = index.item[entry]
    keep = keep[np.lexsort((entry[keep], -coverage[keep], item[keep], rows[begin][keep]))]
    pair = np.diff(item[keep], prepend=-1) | np.diff(rows[begin][keep], prepend=-1)
    keep = keep[pair != 0]
    first = begin[keep]
    return Matches(
        rows[first], entry[keep], coverage[keep], piece[keep], covered[keep], first, end[keep],
        hits.word, hits.place, hits.width,
    )  # fmt: skip


def _seen(index: Grams, place: Ints, key: Ints) -> tuple[Ints, Ints, Ints]:
    """Entry, word and place of each n-gram of the index that begins in the texts at `place`, where `key` was found."""
    counts = index.starts[key + 1] - index.starts[key]
    first = np.repeat(index.starts[key] - np.cumsum(counts) + counts, counts)
    where = first + np.arange(counts.sum())
    return index.entry[where], index.word[where], np.repeat(place, counts)


def _parts(read: Words, index: Index, entry: Ints, word: Ints, place: Ints) -> Hits:
    """N-grams of entries that may stand in part, and the equal words beside them."""
    text = np.searchsorted(read.offsets, place, side="right") - 1
    order = np.lexsort((word, place - word, entry, text))
    text, entry, word, place = text[order], entry[order], word[order], place[order]
    low, high, width = read.offsets[text], read.offsets[text + 1], index.wide.width
    hit, near, beside = extend(
        entry, word, place, width, read.values, low, high, index.words.values, index.words.offsets
    )
    return Hits(
        np.concatenate([entry, entry[hit]]), np.concatenate([word, near]), np.concatenate([place, beside]),
        np.repeat([width, 1], [len(entry), len(hit)]), np.ones(len(entry) + len(hit)),
    )  # fmt: skip


def _whole(read: Words, texts: pl.Series, index: Index, entry: Ints, word: Ints, place: Ints) -> Hits:
    """Of the entries that must stand whole, and of which these are hits, the words that do."""
    text = np.searchsorted(read.offsets, place, side="right") - 1
    order = np.lexsort((place - word, entry, text))
    text, entry, begin = text[order], entry[order], (place - word)[order]
    new = np.flatnonzero(np.diff(text, prepend=-1) | np.diff(entry, prepend=-1) | np.diff(begin, prepend=begin[:1] - 1))
    text, entry, begin = text[new], entry[new], begin[new]
    low, high = read.offsets[text], read.offsets[text + 1]
    lengths = np.diff(index.words.offsets)[entry]
    case, word, place = align(
        entry,
        begin,
        read.values,
        low,
        high,
        index.words.values,
        index.words.offsets,
        index.weight,
        index.edits,
        index.known,
        index.mark,
        np.where(lengths >= 2 * index.wide.width, 0.0, HELD),
        np.where(lengths >= 3 * index.wide.width // 2, np.inf, LOST),
    )
    held = np.bincount(case, minlength=len(entry))
    sure = (lengths >= 2 * index.wide.width) | ((held == lengths) & (lengths >= index.wide.width))
    ends = np.searchsorted(case, np.arange(len(entry) + 1))
    keep, slips = sure[case], list[tuple[int, Pair]]()
    reader = _Reader(read, texts, index)
    literal = index.literal[entry]
    for n in np.flatnonzero((~sure | literal) & (held > 0)).tolist():
        some = slice(ends[n], ends[n + 1])
        if literal[n]:
            keep[some] = is_literal(index.texts[entry[n]], texts[int(text[n])])
            continue
        pairs_ = reader.stands(int(entry[n]), int(text[n]), word[some], place[some])
        keep[some] = bool(pairs_)
        slips += [(n, pair) for pair in pairs_ if pair.slip]
    more = np.array([(n, pair.word, low[n] + pair.place) for n, pair in slips], dtype=np.int64).reshape(-1, 3).T
    case, word, place = (np.concatenate([a[keep], b]) for a, b in zip((case, word, place), more, strict=True))
    part = np.repeat([1.0, 0.5], [keep.sum(), len(slips)])
    return Hits(entry[case], word, place, np.ones(len(case), dtype=np.int64), part)


class _Reader:
    """Looks at the texts themselves where words are not enough to say whether a short item stands there."""

    def __init__(self, read: Words, texts: pl.Series, index: Index) -> None:
        self.read, self.texts, self.index = read, texts, index
        self.spans = -1, Spans("")

    def stands(self, entry: int, text: int, word: Ints, place: Ints) -> list[Pair]:
        """The words that make up the item in the text, none if it does not stand there."""
        index, start = self.index, int(self.read.offsets[text])
        if self.spans[0] != text:  # texts come one after the other
            self.spans = text, Spans(self.texts[text])
        spans, written = self.spans[1], self.texts[text]
        weight = index.weight[index.words.offsets[entry] : index.words.offsets[entry + 1]].tolist()
        pairs = [Pair(w, p - start) for w, p in zip(word.tolist(), place.tolist(), strict=True)]
        if len(pairs) < len(weight):
            pairs = with_slips(pairs, self._words(entry), lambda at: self._strange(entry, text, at))
        by_itself = len(weight) < index.wide.width or (len(pairs) < len(weight) < 3 * index.wide.width // 2)
        return pairs if stands(written, spans, pairs, weight, by_itself=by_itself) else []

    def _words(self, entry: int) -> list[str]:
        spans = Spans(self.index.texts[entry])
        return [fold(self.index.texts[entry][slice(*spans[n])]) for n in range(len(spans))]

    def _strange(self, entry: int, text: int, at: int) -> str:
        """Word `at` of the text, folded, if the entry's benchmark does not have it; else an empty text."""
        spans, known = self.spans[1], self.index.known
        if not 0 <= at < len(spans):
            return ""
        value = self.read.values[self.read.offsets[text] + at] ^ self.index.mark[entry]
        if known[np.searchsorted(known, value) % len(known)] == value:
            return ""
        return fold(self.texts[text][slice(*spans[at])])
