"""In which batches requests are computed: a pure function of the requests and the limits.

All requests are planned, those that have an answer too: a run that was killed and goes on, and each of several
processes, computes the very batches that one undisturbed run computes, and so gets the same bits.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, get_args

from caravan.eval.models.prefix import WORTH, groups

Kind = Literal["letters", "choices", "text"]
KINDS: tuple[Kind, ...] = get_args(Kind)
APART = 10
"""Tokens that a step of writing costs beside those of its rows: what a batch of its own costs, at each step."""


@dataclass(frozen=True, slots=True)
class Job:
    """A request as ids: those of the prompt, and of each choice; or how many tokens are to be written at most."""

    ids: Sequence[int]
    choices: tuple[tuple[int, ...], ...] = ()
    new: int = 0

    @property
    def kind(self) -> Kind:
        """Letters are choices of one token, which the last position of the prompt tells."""
        if not self.choices:
            return "text"
        return "letters" if all(len(choice) == 1 for choice in self.choices) else "choices"

    @property
    def length(self) -> int:
        """Tokens of prompt and answer together."""
        return len(self.ids) + (self.new or max(map(len, self.choices)))


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests that are computed together, by number. Their prompts agree up to the last of `cuts`."""

    kind: Kind
    cuts: tuple[int, ...]
    members: tuple[int, ...]
    cost: int
    """Tokens that are computed for it, padding included, the common beginning not."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a batch may be.

    `letters` and `texts`: tokens of its rows that are read and written, padding included; `rows` of them at most;
    `room` bytes in memory (see `bytes`). `reuse`: whether beginnings are computed apart; `expanded`: whether each row
    then has a copy. `pads`: whether rows may be padded before they are read; texts need more, rows of equal length,
    where `even`, and are written `singly` where a family allows no more. Longer than `whole_above`: computed whole and
    alone.
    """

    letters: int = sys.maxsize
    texts: int = sys.maxsize
    rows: int = sys.maxsize
    room: int = sys.maxsize
    read_bytes: int = 0
    kept_bytes: int = 0
    layer_bytes: int = 0
    reuse: bool = True
    expanded: bool = False
    pads: bool = True
    even: bool = False
    singly: bool = False
    whole_above: int | None = None

    def bytes(self, cut: int, width: int, new: int) -> int:
        """What a row takes: per token that is read, in the cache, and where a layer lays out all that its row sees."""
        kept = width + new + (cut if self.expanded else 0)
        return width * self.read_bytes + kept * self.kept_bytes + (cut + width) * self.layer_bytes


def plan(jobs: Sequence[Job], limits: Limits) -> list[Batch]:
    """Every job in one batch; batches with a common beginning follow one another."""
    found = [_batch(jobs, (), (n,)) for n, job in enumerate(jobs) if _long(job, limits)]
    for kind in KINDS:
        numbers = [n for n, job in enumerate(jobs) if job.kind == kind and not _long(job, limits)]
        worth = WORTH + APART * max((jobs[n].new for n in numbers), default=0)
        for group in groups([jobs[n].ids for n in numbers], worth if limits.reuse else sys.maxsize):
            cut = group.cuts[-1] if group.cuts else 0
            rows: list[int] = []
            for member in sorted((numbers[n] for n in group.members), key=lambda n: (-len(jobs[n].ids), n)):
                if rows and not _fits(jobs, rows, member, cut, limits):
                    found.append(_batch(jobs, group.cuts, tuple(rows)))
                    rows = []
                rows.append(member)
            found.append(_batch(jobs, group.cuts, tuple(rows)))
    return found


def share(batches: Sequence[Batch], rank: int, world: int) -> list[Batch]:
    """The batches of one of several processes: neighbours, about as many tokens for each process."""
    ends = list(accumulate(batch.cost for batch in batches))
    total = max(ends[-1], 1) if ends else 1
    middles = (end - batch.cost / 2 for end, batch in zip(ends, batches, strict=True))
    owners = [min(int(middle * world / total), world - 1) for middle in middles]
    return [batch for batch, owner in zip(batches, owners, strict=True) if owner == rank]


def _long(job: Job, limits: Limits) -> bool:
    return limits.whole_above is not None and job.length > limits.whole_above


def _fits(jobs: Sequence[Job], rows: Sequence[int], member: int, cut: int, limits: Limits) -> bool:
    """Whether a batch can take one more."""
    first, one = jobs[rows[0]], jobs[member]
    kind = first.kind
    even = len(first.ids) == len(one.ids)
    if kind == "choices" or len(rows) >= limits.rows or not (limits.pads or even):
        return False
    if kind == "text" and (limits.singly or (limits.even and not even)):
        return False
    width, new = _shape(jobs, [*rows, member], cut)
    most = limits.letters if kind == "letters" else limits.texts
    count = len(rows) + 1
    return count * (width + new) <= most and count * limits.bytes(cut, width, new) <= limits.room


def _shape(jobs: Sequence[Job], members: Sequence[int], cut: int) -> tuple[int, int]:
    """Tokens that are read and written in the rows of a batch."""
    return max(len(jobs[n].ids) for n in members) - cut, max(jobs[n].new for n in members)


def _batch(jobs: Sequence[Job], cuts: tuple[int, ...], members: tuple[int, ...]) -> Batch:
    kind = jobs[members[0]].kind
    width, new = _shape(jobs, members, cuts[-1] if cuts else 0)
    choices = sum(len(choice) for n in members for choice in jobs[n].choices) if kind == "choices" else 0
    return Batch(kind, cuts, members, len(members) * (width + new) + choices)
