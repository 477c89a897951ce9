"""Which rows of a source stand in the mixture: a fixed order for each source, of which a mixture takes a prefix.

Two orders exist. **Hash order**: by a 128-bit hash of (seed, source, id). **Ranked order**: by quality, best first,
rows of equal quality in hash order; quality is rounded to six decimals first, so that the last bits of a floating
point sum never move a row. Ranked is strict rather than a weighted draw (such as Efraimidis and Spirakis 2006), so
that the promise "better rows first" can be checked by anyone: no row left out is better than a row taken. Its price
is that rows at the low end of the measure never appear; the other strategies draw in hash order.

No state runs from row to row. The order is the same on every machine and whatever order the rows arrive in; a
larger count takes the rows of a smaller one and more, and rows of another source change nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Draw:
    """Rows taken, in the order they were taken: `positions` (0-based, into `ids`) and which copy (1-based)."""

    positions: Positions
    copies: npt.NDArray[np.int64]


def draw_order(
    ids: Sequence[str], seed: int, source: str, quality: npt.ArrayLike | None = None, ranked: bool = False
) -> Positions:
    """The positions of all of a source's rows in the order in which they are drawn.

    `ids` are distinct. `quality` (0..1, one a row; NaN counts as 0) is read only when `ranked`.
    """
    hashes = _hashes(f"draw\0{seed}\0{source}\0", ids)
    keys: list[npt.NDArray[Any]] = [hashes["low"], hashes["high"]]
    if ranked and quality is not None:
        # lexsort sorts by its last key first.
        keys.append(-np.round(np.nan_to_num(np.asarray(quality, dtype=np.float64)), 6))
    return np.lexsort(keys).astype(np.int64)


def take(order: Positions, count: int, lengths: npt.ArrayLike | None = None) -> Draw:
    """The first `count` of a source's rows in order, then second copies in the same order, and so on.

    With `lengths` (tokens of each row, by position) `count` is a number of tokens: rows are taken until their sum
    is as near to it as whole rows in this order allow, the fewer rows where two sums are equally near. Repeat caps
    are the allocation's: a count within `available * max_repeats` never asks for more copies than `max_repeats`.
    """
    if lengths is None:
        rows = count
    else:
        sums = np.concatenate(([0], np.cumsum(np.asarray(lengths, dtype=np.int64)[order])))
        whole = int(sums[-1])
        copies, rest = divmod(count, whole) if whole else (0, 0)
        part = _nearest(sums, rest)
        if copies and not part:  # rows without tokens at the end of a pass add nothing
            copies, part = copies - 1, int(np.searchsorted(sums, whole))
        rows = copies * len(order) + part
    places = np.arange(rows, dtype=np.int64)
    size = max(len(order), 1)
    return Draw(order[places % size], places // size + 1)


def validation_split(ids: Sequence[str], groups: npt.ArrayLike, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Which rows go to the validation split: whole groups of look-alikes, before any row is repeated.

    Called once over the rows of *all* sources: `groups` gives each row a label, and rows of one label, of whatever
    source, end up on one side. A group goes to validation when the hash of its smallest id, read as a fraction of
    its range, is below `share`. So each group decides for itself: the split holds about `share` of the rows, not
    exactly, and adding or changing other rows moves nothing.
    """
    smallest: dict[int, str] = {}
    labels = np.asarray(groups, dtype=np.int64).tolist()
    for label, row in zip(labels, ids, strict=True):
        if label not in smallest or row < smallest[label]:
            smallest[label] = row
    hashes = _hashes(f"validation\0{seed}\0", list(smallest.values()))["high"]
    below = int(Fraction(share) * 2**64)
    chosen = {label: int(h) < below for label, h in zip(smallest, hashes, strict=True)}
    return np.array([chosen[label] for label in labels], dtype=np.bool_)


def _hashes(prefix: str, ids: Sequence[str]) -> npt.NDArray[np.void]:
    """128 bits for each id, as two unsigned 64-bit fields `high` and `low`."""
    start = blake2b(prefix.encode("utf-8", "surrogatepass"), digest_size=16)
    digests = []
    for one in ids:
        h = start.copy()
        h.update(one.encode("utf-8", "surrogatepass"))
        digests.append(h.digest())
    return np.frombuffer(b"".join(digests), dtype=[("high", ">u8"), ("low", ">u8")])


def _nearest(sums: npt.NDArray[np.int64], target: int) -> int:
    """How many rows make the sum nearest to `target`; `sums` starts with 0 and never falls."""
    above = int(np.searchsorted(sums, target))  # the fewest rows that reach the target
    if above == 0 or sums[above] - target < target - sums[above - 1]:
        return above
    return int(np.searchsorted(sums, sums[above - 1]))
