"""Which rows are computed when and where: a pure function of seed, epoch and lengths; and a bin's rows as tensors.

An *item* is what must stay together: a row, or the two rows of a preference pair. A *bin* is the items that one GPU
computes in one forward, a *step* the bins between two updates of the weights. Nothing is stateful: a run is continued
from the number of its next step alone, on any number of ranks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from caravan.train.pack import pack, pack_evenly
from caravan.train.tokens import Tokens

WINDOW = 4096  # items that full bins are packed from: enough for best-fit, few enough to keep an epoch's order random
Bin = tuple[int, ...]


@dataclass(frozen=True)
class Order:
    """All steps of a run. `lengths` are the items' tokens, `capacity` the tokens of a bin at most.

    `unit` "examples": a step takes `batch_size` items, and packs them evenly over `ranks`, so that packing changes the
    speed and nothing else. `unit` "bins": a step takes `batch_size` full bins. An epoch's last step may be smaller.
    """

    lengths: npt.NDArray[np.int64]
    capacity: int
    batch_size: int
    epochs: int
    seed: int = 0
    unit: str = "examples"
    packing: bool = True
    ranks: int = 1

    @cached_property
    def steps_of(self) -> list[int]:
        """Steps of each epoch."""
        if self.unit == "examples":
            return [-(-len(self.lengths) // self.batch_size)] * self.epochs
        return [-(-len(self._full_bins(epoch)) // self.batch_size) for epoch in range(self.epochs)]

    def __len__(self) -> int:
        return sum(self.steps_of)

    def place(self, step: int) -> tuple[int, int]:
        """Epoch and step within it, both from 0."""
        for epoch, steps in enumerate(self.steps_of):
            if step < steps:
                return epoch, step
            step -= steps
        raise IndexError(step)

    def step(self, number: int) -> list[Bin]:
        """The bins of a step, over all ranks, longest first."""
        epoch, at = self.place(number)
        chosen = slice(at * self.batch_size, (at + 1) * self.batch_size)
        if self.unit == "bins":
            return sorted(self._full_bins(epoch)[chosen], key=lambda items: (-self._tokens(items), items))
        items = self._shuffled(epoch)[chosen]
        lengths = self.lengths[items].tolist()
        if not self.packing:
            return [(int(items[i]),) for i in sorted(range(len(items)), key=lambda i: (-lengths[i], i))]
        return [tuple(int(items[i]) for i in bin_) for bin_ in pack_evenly(lengths, self.capacity, self.ranks)]

    def _tokens(self, items: Bin) -> int:
        return int(self.lengths[list(items)].sum())

    @lru_cache(maxsize=2)  # noqa: B019 - one Order lives as long as its run
    def _shuffled(self, epoch: int) -> npt.NDArray[np.int64]:
        # The raw bits of Philox are the same in every version of numpy; its permutation is not promised to be.
        keys = np.random.Philox(key=np.array([self.seed, epoch], np.uint64)).random_raw(len(self.lengths))
        return np.argsort(keys, kind="stable")

    @lru_cache(maxsize=2)  # noqa: B019
    def _full_bins(self, epoch: int) -> list[Bin]:
        items = self._shuffled(epoch)
        if not self.packing:
            return [(int(item),) for item in items]
        bins: list[Bin] = []
        for start in range(0, len(items), WINDOW):
            window = items[start : start + WINDOW]
            bins += [tuple(int(window[i]) for i in b) for b in pack(self.lengths[window].tolist(), self.capacity)]
        keys = np.random.Philox(key=np.array([self.seed, epoch + 2**32], np.uint64)).random_raw(len(bins))
        return [bins[i] for i in np.argsort(keys, kind="stable")]

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


def share(bins: Sequence[Bin], rank: int, ranks: int) -> list[Bin]:
    """A rank's bins of a step: as many on every rank, empty ones where there are not enough."""
    rounds = -(-len(bins) // ranks)
    mine = list(bins[rank::ranks])
    return mine + [()] * (rounds - len(mine))


@dataclass(frozen=True)
class Batch:
    """One bin: rows laid end to end, `ids` and `positions` of shape [1, T], never padded.

    `at` [N] are the positions whose next token carries loss, `targets` [N] those tokens, `segment` [N] and `turn` [N]
    say to which row of the bin and which of its assistant turns each belongs; `source` [rows] is each row's source.
    `boundaries` are 0 and the row ends. A bin without rows is one token that carries no loss: other ranks still
    compute, and collectives must meet.
    """

    ids: Tensor
    positions: Tensor
    boundaries: tuple[int, ...]
    at: Tensor
    targets: Tensor
    segment: Tensor
    turn: Tensor
    source: Tensor
    rows: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """Tokens of real rows."""
        return self.boundaries[-1] if self.rows else 0

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return max(end - start for start, end in pairwise(self.boundaries))


def batch_of(tokens: Tokens, rows: Sequence[int], device: torch.device) -> Batch:
    """The tensors of these rows."""
    pieces = [slice(tokens.offsets[row], tokens.offsets[row + 1]) for row in rows]
    ids = np.concatenate([np.zeros(0 if rows else 1, np.int32), *(tokens.ids[piece] for piece in pieces)])
    turns = np.concatenate([np.zeros(0 if rows else 1, np.uint8), *(tokens.turns[piece] for piece in pieces)])
    lengths = [piece.stop - piece.start for piece in pieces] or [1]
    boundaries = np.concatenate([[0], np.cumsum(lengths)])
    targets = np.flatnonzero(turns)

    def tensor(array: npt.NDArray[np.generic]) -> Tensor:
        made = torch.from_numpy(array.astype(np.int64))
        return made.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else made

    return Batch(
        ids=tensor(ids)[None],
        positions=tensor(np.concatenate([np.arange(n) for n in lengths]))[None],
        boundaries=tuple(boundaries.tolist()),
        at=tensor(targets - 1),
        targets=tensor(ids[targets]),
        segment=tensor(np.searchsorted(boundaries, targets, side="right") - 1),
        turn=tensor(turns[targets]),
        source=tensor(tokens.source[list(rows)]),
        rows=tuple(int(row) for row in rows),
    )


def batches(tokens: Tokens, bins: Sequence[Bin], group: int, device: torch.device) -> Iterator[Batch]:
    """The tensors of each bin; an item is `group` rows."""
    for items in bins:
        yield batch_of(tokens, [item * group + k for item in items for k in range(group)], device)
