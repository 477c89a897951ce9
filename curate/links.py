"""Rows that may be alike, and the greedy pass that decides which of them stays.

A linking filter puts rows into buckets such that two rows at or above its floor share a bucket; what the similarity
of two rows is computed from (sorted 64-bit shingles) travels along, and pairs are verified by exact Jaccard against
the representatives only, while deciding: a template of 10,000 rows that all resemble one another costs its length,
not its square.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from caravan.curate.words import Shingles

SLOTS = 128  # of a sketch: bands times rows cannot be more

Rows = npt.NDArray[np.int64]
Buckets = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Links:
    """One key's buckets: member `m` says that row `row[m]` (0-based) lies in bucket `bucket[m]` (any 64-bit label).

    `shingles` has one entry a row; a row without shingles is alike to nothing. `reason` is what a dropped row gets.
    Pairs below `floor` may share no bucket, so that no limit may lie below it. `upto[m]` is the similarity up to which
    member `m` is needed to find every pair (None: any): under a higher limit it is passed over.
    """

    key: str
    reason: str
    row: Rows
    bucket: Buckets
    shingles: Shingles
    floor: float = 0.0
    upto: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Verdicts:
    """For each row: the kept row that it repeats (-1: none), which of the links said so, and their exact Jaccard."""

    partner: Rows
    link: npt.NDArray[np.int64]
    similarity: npt.NDArray[np.float64]


def greedy(rows: int, links: Sequence[Links], limits: Sequence[float], order: Rows) -> Verdicts:
    """Walk the rows of `order` (best first; rows not in it take no part) and keep each that repeats no kept one.

    A row repeats a kept row when, in any of the links, both share a bucket and their similarity is at least that
    link's limit. Of several such kept rows the most similar one is named, ties by place in `order`, then by link.
    """
    from caravan.curate import joins

    taking = np.zeros(rows, np.bool_)
    taking[order] = True
    sets = np.full((len(links), rows), -1, np.int64)
    values, starts, stops, counts, group = [], [], [], [], []
    made = groups = size = 0  # sets, groups and values of the links before
    for number, (each, limit) in enumerate(zip(links, limits, strict=True)):
        takes = taking[each.row] & (np.diff(each.shingles.offsets)[each.row] > 0)
        if each.upto is not None:
            takes &= each.upto >= limit - 1e-9
        row, bucket = shared(each.row[takes], each.bucket[takes])
        labels, dense = np.unique(bucket, return_inverse=True)
        by_row = np.argsort(row, kind="stable")
        members, count = np.unique(row, return_counts=True)
        sets[number, members] = made + np.arange(len(members))
        values.append(each.shingles.values)
        starts.append(each.shingles.offsets[:-1][members] + size)
        stops.append(each.shingles.offsets[1:][members] + size)
        counts.append(count)
        group.append(dense[by_row] + groups)
        made, groups, size = made + len(members), groups + len(labels), size + len(each.shingles.values)

    partner, link, similarity = np.full(rows, -1, np.int64), np.full(rows, -1, np.int64), np.zeros(rows)
    joins.greedy(
        np.ascontiguousarray(order, np.int64),
        sets,
        values[0] if len(values) == 1 else _joined(values, np.uint64),
        _joined(starts, np.int64),
        _joined(stops, np.int64),
        np.concatenate([[0], np.cumsum(_joined(counts, np.int64))]),
        _joined(group, np.int64),
        groups,
        np.array(limits, np.float64),
        partner,
        link,
        similarity,
    )
    return Verdicts(partner, link, similarity)


def shared(row: Rows, bucket: Buckets) -> tuple[Rows, Buckets]:
    """The members (row, bucket), each once, without the buckets that hold a single row; by bucket, then row."""
    bits = max(int(2 * row.size).bit_length(), 1)
    cell = ((bucket * np.uint64(0x9FB21C651E98DF25)) >> np.uint64(64 - bits)).astype(np.int64)
    some = np.bincount(cell, minlength=1 << bits)[cell] > 1  # most buckets hold one row: no need to sort those
    row, bucket = row[some], bucket[some]
    order = np.lexsort((row, bucket))
    row, bucket = row[order], bucket[order]
    same = (bucket[1:] == bucket[:-1]) & (row[1:] == row[:-1])
    once = np.append(True, ~same)[: row.size]
    row, bucket = row[once], bucket[once]
    equal = bucket[1:] == bucket[:-1]
    company = (np.append(False, equal) | np.append(equal, False))[: row.size]
    return row[company], bucket[company]


def lsh_buckets(shingles: Shingles, bands: int, rows: int) -> tuple[Rows, Buckets]:
    """Members (row, bucket) such that sets at Jaccard s share a bucket with probability `lsh_recall(s, bands, rows)`.

    One-permutation hashing: each shingle is looked at once, not once for each of the `bands * rows` (at most 128)
    slots. Deterministic: the shingles' own bits are the hash.
    """
    from caravan.curate import joins

    if not 1 <= rows <= bands * rows <= SLOTS:
        raise ValueError(f"{bands} bands of {rows} rows do not fit {SLOTS} slots")
    texts = shingles.offsets.size - 1
    labels = np.zeros(texts * bands, np.uint64)
    joins.sketch(shingles.values, shingles.offsets, *_donors(), bands, rows, labels)
    filled = np.flatnonzero(np.diff(shingles.offsets))
    return shared(np.repeat(filled, bands), labels.reshape(texts, bands)[filled].ravel())


def lsh_recall(similarity: float, bands: int, rows: int) -> float:
    """The probability that two sets of this Jaccard similarity share a bucket: 1 - (1 - s ** rows) ** bands."""
    return float(1.0 - (1.0 - similarity**rows) ** bands)


def lsh_shape(floor: float, recall: float = 0.999) -> tuple[int, int]:
    """The (bands, rows) with the most rows, so the fewest needless comparisons, that reach `recall` at `floor`."""
    shapes = [(SLOTS // rows, rows) for rows in range(SLOTS, 0, -1)]
    return next((shape for shape in shapes if lsh_recall(floor, *shape) >= recall), (SLOTS, 1))


def prefix_buckets(shingles: Shingles, floor: float) -> tuple[Rows, Buckets, npt.NDArray[np.float64]]:
    """Members (row, bucket, upto) such that sets at Jaccard `floor` or more share a bucket: all of them, always.

    Two sets that share at least floor * |a| values share one of the |a| - ceil(floor * |a|) + 1 first of a in any
    order common to all sets; with the rarest first these buckets are small (Chaudhuri, Ganti and Kaushik 2006).
    `upto` is what `Links.upto` asks for.
    """
    from caravan.curate import joins

    bits = min(max(int(shingles.values.size).bit_length(), 10), 26)
    sizes = np.diff(shingles.offsets)
    room = int(np.ceil(sizes * (1.0 - floor) + 1.0).sum())
    row, bucket, upto = np.empty(room, np.int64), np.empty(room, np.uint64), np.empty(room)
    count = joins.prefix(shingles.values, shingles.offsets, floor, bits, row, bucket, upto)
    return row[:count].copy(), bucket[:count].copy(), upto[:count].copy()


@cache
def _donors() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """For each slot the order in which it asks the others for a value, and each one's rank in that order."""
    from caravan.curate import kernels

    keys = np.array([kernels.mix(np.uint64(i)) for i in range(SLOTS * SLOTS)], np.uint64).reshape(SLOTS, SLOTS)
    order = np.argsort(keys, axis=1, kind="stable")
    return order.astype(np.uint8), np.argsort(order, axis=1).astype(np.uint8)


def _joined(parts: Sequence[npt.NDArray[np.generic]], kind: type[np.generic]) -> npt.NDArray[np.generic]:
    return np.concatenate([np.empty(0, kind), *parts]).astype(kind, copy=False)
