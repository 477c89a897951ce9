"""Which prompts are computed together: groups that share a beginning, and in each group batches of like length.

The beginning is shared in token ids, never in text: a tokenizer may merge across the border of an example. It is
computed once and its keys and values serve the whole group. A plan is a function of the rows and the room alone, so a
run that goes on has the batches that it had before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

LEAST = 16  # tokens: a shorter beginning is not worth a pass of its own
DEPTH = 200  # of groups in groups: beyond it a group is taken as it is


@dataclass(frozen=True, slots=True)
class Row:
    """Ids that go through the model. The log-probabilities of `targets` are read after the last ids; `number` and
    `choice` say whose they are. With `each`, `targets` are one token each of several choices, else one choice's tokens.
    """

    number: int
    choice: int
    ids: tuple[int, ...]
    targets: tuple[int, ...] = ()
    each: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows, the longest first, and the number of ids that they share with their whole group."""

    rows: tuple[Row, ...]
    prefix: int

    @property
    def cost(self) -> int:
        """Ids that go through the model, padding included, without the prefix."""
        return (len(self.rows[0].ids) - self.prefix) * len(self.rows)


def plan(
    rows: Sequence[Row], room: int, extra: int = 0, most: int = 1 << 30, *, even: bool = False
) -> list[list[Batch]]:
    """Batches by group. A batch has at most `room` ids, counting for each row its padding and `extra` (ids that it will
    grow by), and at most `most` rows; one row at least. `even`: rows of one batch have one length.
    """
    ordered = sorted(rows, key=lambda row: (row.ids, row.number, row.choice))
    groups = []
    for low, high, shared in _groups(ordered):
        prefix = shared if shared >= LEAST and high - low > 1 else 0
        by_length = sorted(ordered[low:high], key=lambda row: (-len(row.ids), row.number, row.choice))
        groups.append(_batches(by_length, prefix, room, extra, most, even))
    return groups


def _batches(rows: Sequence[Row], prefix: int, room: int, extra: int, most: int, even: bool) -> list[Batch]:
    found, current = list[Batch](), list[Row]()
    for row in rows:
        longest = len((current or [row])[0].ids) - prefix + extra
        full = longest * (len(current) + 1) > room or len(current) == most
        if current and (full or (even and len(row.ids) < len(current[0].ids))):
            found.append(Batch(tuple(current), prefix))
            current = []
        current.append(row)
    return [*found, Batch(tuple(current), prefix)]


def _groups(rows: Sequence[Row]) -> list[tuple[int, int, int]]:
    """Ranges of sorted rows with the length of what each shares, so that the fewest ids go through the model.

    Sorted rows that share a beginning stand together. A range is kept whole, or split where its neighbours share
    least, whichever needs fewer ids.
    """
    if not rows:
        return []
    between = [_shared(a.ids, b.ids) for a, b in pairwise(rows)]
    return _best(between, [len(row.ids) for row in rows], 0, len(rows), 0)[1]


def _best(
    between: list[int], lengths: list[int], low: int, high: int, depth: int
) -> tuple[int, list[tuple[int, int, int]]]:
    """The fewest ids for a range, and the groups that reach it."""
    if high - low == 1:
        return lengths[low], [(low, high, 0)]
    least = min(between[low : high - 1])
    shared = min(least, min(lengths[low:high]) - 1)  # one id at least is left to each
    whole = sum(lengths[low:high]) - shared * (high - low - 1)
    if depth == DEPTH:
        return whole, [(low, high, shared)]
    cuts = [at + 1 for at in range(low, high - 1) if between[at] == least]
    parts = [_best(between, lengths, a, b, depth + 1) for a, b in zip([low, *cuts], [*cuts, high], strict=True)]
    apart = sum(cost for cost, _ in parts)
    if whole <= apart:
        return whole, [(low, high, shared)]
    return apart, [group for _, groups in parts for group in groups]


def _shared(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    """How many ids two rows have in common from the beginning."""
    low, high = 0, min(len(a), len(b))
    while low < high:  # slices compare far faster than a loop over ids
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def share(groups: Sequence[Sequence[Batch]], rank: int, world: int) -> tuple[list[list[Batch]], set[int]]:
    """The batches that one of `world` processes computes, and the requests that it answers.

    Processes take neighbouring batches, about as many ids each; a request whose rows lie in two batches belongs to the
    process that has the first. A group may be cut: then each of its parts computes the prefix.
    """
    total = sum(batch.cost for group in groups for batch in group) or 1
    owner: dict[int, int] = {}
    before = 0
    for group in groups:
        for batch in group:
            process = min(int((before + batch.cost / 2) * world / total), world - 1)
            before += batch.cost
            for row in batch.rows:
                owner.setdefault(row.number, process)
    own = {number for number, process in owner.items() if process == rank}
    kept = [[batch for batch in group if any(row.number in own for row in batch.rows)] for group in groups]
    return [group for group in kept if group], own
