"""Rows that may be alike, and the greedy pass that decides which of them stays.

A linking filter puts rows into buckets such that two rows at or above its floor share a bucket; what the similarity
of two rows is computed from (sorted 64-bit shingles) travels along, and pairs are verified by exact Jaccard against
the representatives only, while deciding: a template of 10,000 rows that all resemble one another costs its length,
not its square.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from caravan.curate.words import Shingles


@dataclass(frozen=True)
class Links:
    """One key's buckets: member `m` says that row `row[m]` (0-based) lies in bucket `bucket[m]` (any 64-bit label).

    `shingles` has one entry a row; a row without shingles is alike to nothing. `reason` is what a dropped row gets.
    """

    key: str
    reason: str
    row: npt.NDArray[np.int64]
    bucket: npt.NDArray[np.uint64]
    shingles: Shingles


@dataclass(frozen=True)
class Verdicts:
    """For each row: the kept row that it repeats (-1: none), which of the links said so, and their exact Jaccard."""

    partner: npt.NDArray[np.int64]
    link: npt.NDArray[np.int64]
    similarity: npt.NDArray[np.float64]


def greedy(rows: int, links: Sequence[Links], limits: Sequence[float], order: npt.NDArray[np.int64]) -> Verdicts:
    """Walk the rows of `order` (best first; rows not in it take no part) and keep each that repeats no kept one.

    A row repeats a kept row when, in any of the links, both share a bucket and their similarity is at least that
    link's limit. Of several such kept rows the most similar one is named, ties by place in `order`.
    """
    raise NotImplementedError
