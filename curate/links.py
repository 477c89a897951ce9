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
    Pairs below `floor` may share no bucket, so that no limit may lie below it. Where `beside` is given, two rows are
    alike only if these sets have at least the similarity `beside_limit` too, or are both empty.
    """

    key: str
    reason: str
    row: Rows
    bucket: Buckets
    shingles: Shingles
    floor: float = 0.0
    beside: Shingles | None = None
    beside_limit: float = 1.0


@dataclass(frozen=True)
class Verdicts:
    """For each row: the kept row that it repeats (-1: none), which of the links said so, and their exact Jaccard.

    `pairs` says how many pairs of a row and a kept row were looked at: what the walk cost.
    """

    partner: Rows
    link: npt.NDArray[np.int64]
    similarity: npt.NDArray[np.float64]
    pairs: int


def greedy(rows: int, links: Sequence[Links], limits: Sequence[float], order: Rows) -> Verdicts:
    """Walk the rows of `order` (best first; rows not in it take no part) and keep each that repeats no kept one.

    A row repeats a kept row when, in any of the links, both share a bucket and their similarity is at least that
    link's limit. Of several such kept rows the most similar one is named, ties by place in `order`, then by link.
    """
    from caravan.curate import joins

    taking = np.zeros(rows, np.bool_)
    taking[order] = True
    sets = np.full((len(links), rows), -1, np.int64)
    values = [np.empty(0, np.uint64)]
    starts, stops = list[Rows](), list[Rows]()  # of the sets that are compared, link by link
    beside_starts, beside_stops = list[Rows](), list[Rows]()  # of what stands beside them
    counts, group = list[Rows](), list[Rows]()
    made = groups = size = room = 0  # sets, groups, values and prefixes of the links before
    for number, (each, limit) in enumerate(zip(links, limits, strict=True)):
        takes = taking[each.row] & (np.diff(each.shingles.offsets)[each.row] > 0)
        row, bucket = shared(each.row[takes], each.bucket[takes])
        labels, dense = np.unique(bucket, return_inverse=True)
        by_row = np.argsort(row, kind="stable")
        members, count = np.unique(row, return_counts=True)
        sets[number, members] = made + np.arange(len(members))
        counts.append(count)
        group.append(dense[by_row] + groups)
        made, groups = made + len(members), groups + len(labels)
        nothing = Shingles(np.empty(0, np.uint64), np.zeros(rows + 1, np.int64))
        for of, lowest, some in (
            (each.shingles, limit, (starts, stops)),
            (each.beside or nothing, each.beside_limit, (beside_starts, beside_stops)),
        ):
            values.append(of.values)
            some[0].append(of.offsets[:-1][members] + size)
            some[1].append(of.offsets[1:][members] + size)
            room += _room(some[1][-1] - some[0][-1], lowest)
            size += len(of.values)

    partner, link, similarity = np.full(rows, -1, np.int64), np.full(rows, -1, np.int64), np.zeros(rows)
    all_starts, all_stops = _joined([*starts, *beside_starts]), _joined([*stops, *beside_stops])
    pairs = joins.greedy(
        np.ascontiguousarray(order, np.int64),
        sets,
        np.concatenate(values),
        all_starts,
        all_stops,
        np.concatenate([[0], np.cumsum(_joined(counts))]),
        _joined(group),
        np.array([limits, [each.beside_limit for each in links]], np.float64).reshape(2, len(links)),
        _cells(int((all_stops - all_starts).sum())),
        max(room.bit_length(), 10),
        room,
        partner,
        link,
        similarity,
    )
    return Verdicts(partner, link, similarity, int(pairs))


def components(rows: int, links: Sequence[Links], limits: Sequence[float]) -> Rows:
    """A label for each row: rows that are alike in any of the links, or through others, have the same one.

    Two rows are alike when they share a bucket and their sets have at least that link's limit; what stands `beside`
    is not asked. Every pair of a bucket is looked at once, unless it is one already.
    """
    from caravan.curate import joins

    labels = np.arange(rows, dtype=np.int64)
    for each, limit in zip(links, limits, strict=True):
        row, bucket = shared(each.row, each.bucket)
        _, starts, dense = np.unique(bucket, return_index=True, return_inverse=True)
        bounds = np.append(starts, row.size).astype(np.int64)
        by_row = dense[np.argsort(row, kind="stable")].astype(np.int64)
        lies = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=rows))])
        shingles = each.shingles
        cells = _cells(shingles.values.size)
        joins.join(row, bounds, by_row, lies, shingles.values, shingles.offsets, limit, cells, labels)
    return joins.roots(labels)


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


def lsh_labels(shingles: Shingles, bands: int, rows: int) -> Buckets:
    """The labels[texts, bands] of each set: two at Jaccard s share one with probability `lsh_recall(s, bands, rows)`.

    An empty set has zeros. One-permutation hashing: each shingle is looked at once, not once for each of the
    `bands * rows` (at most 128) slots. Deterministic: the shingles' own bits are the hash.
    """
    from caravan.curate import joins

    if not 1 <= rows <= bands * rows <= SLOTS:
        raise ValueError(f"{bands} bands of {rows} rows do not fit {SLOTS} slots")
    texts = shingles.offsets.size - 1
    labels = np.zeros(texts * bands, np.uint64)
    joins.sketch(shingles.values, shingles.offsets, *_donors(), bands, rows, labels)
    return labels.reshape(texts, bands)


def lsh_buckets(shingles: Shingles, bands: int, rows: int) -> tuple[Rows, Buckets]:
    """Members (row, bucket) by `lsh_labels`."""
    labels, filled = lsh_labels(shingles, bands, rows), np.flatnonzero(np.diff(shingles.offsets))
    return shared(np.repeat(filled, bands), labels[filled].ravel())


def lsh_recall(similarity: float, bands: int, rows: int) -> float:
    """The probability that two sets of this Jaccard similarity share a bucket: 1 - (1 - s ** rows) ** bands."""
    return float(1.0 - (1.0 - similarity**rows) ** bands)


def lsh_shape(floor: float, recall: float = 0.999) -> tuple[int, int]:
    """The (bands, rows) with the most rows, so the fewest needless comparisons, that reach `recall` at `floor`."""
    shapes = [(SLOTS // rows, rows) for rows in range(SLOTS, 0, -1)]
    return next((shape for shape in shapes if lsh_recall(floor, *shape) >= recall), (SLOTS, 1))


def prefix_buckets(shingles: Shingles, floor: float) -> tuple[Rows, Buckets]:
    """Members (row, bucket) such that sets at Jaccard `floor` or more share a bucket: all of them, always.

    Two sets that share at least floor * |a| values share one of the |a| - ceil(floor * |a|) + 1 first of a in any
    order common to all sets; with the rarest first these buckets are small (Chaudhuri, Ganti and Kaushik 2006).
    """
    from caravan.curate import joins

    room = _room(np.diff(shingles.offsets), floor)
    row, bucket = np.empty(room, np.int64), np.empty(room, np.uint64)
    count = joins.prefix(shingles.values, shingles.offsets, floor, _cells(shingles.values.size), row, bucket)
    return shared(row[:count], bucket[:count])


def _room(sizes: npt.NDArray[np.int64], limit: float) -> int:
    """At least as many values as prefixes of sets of these sizes have in all."""
    return int(np.ceil(sizes * (1.0 - limit) + 1.0 + 1e-6).sum())


def _cells(values: int) -> npt.NDArray[np.uint32]:
    """Zeros to count the frequencies of so many values in: a power of two of them."""
    return np.zeros(1 << min(max(values.bit_length(), 10), 26), np.uint32)


@cache
def _donors() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """For each slot the order in which it asks the others for a value, and each one's rank in that order."""
    from caravan.curate import kernels

    keys = np.array([kernels.mix(np.uint64(i)) for i in range(SLOTS * SLOTS)], np.uint64).reshape(SLOTS, SLOTS)
    order = np.argsort(keys, axis=1, kind="stable")
    return order.astype(np.uint8), np.argsort(order, axis=1).astype(np.uint8)


def _joined(parts: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    return np.concatenate([np.empty(0, np.int64), *parts])
