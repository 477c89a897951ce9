"""Which prompts begin alike, and where it pays to compute the beginning once.

Found from token ids, never from pieces of text, whose tokens may merge across the border. A cut depends on the prompts
alone, not on batches or memory: what is computed from which beginning is the same wherever a run is done.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

WORTH = 128
"""Tokens that a cut must save. A forward pass of its own costs as much as some dozens of tokens."""


@dataclass(frozen=True, slots=True)
class Group:
    """Prompts with a common beginning, which ends at the last of `cuts`; earlier ones end beginnings of wider groups.

    Members are in the order of their ids. Without cuts they have nothing in common that is worth a pass of its own.
    """

    cuts: tuple[int, ...] = ()
    members: list[int] = field(default_factory=list)


def groups(prompts: Sequence[Sequence[int]], worth: int = WORTH) -> list[Group]:
    """Every prompt in one group, so that at least one of its tokens lies behind the last cut.

    A group is followed by those that share its beginning and a longer one (a tree, in preorder): whoever walks along
    keeps the beginnings on a stack. An empty prompt is in no group.
    """
    packed = {n: np.asarray(ids, dtype=">u4").tobytes() for n, ids in enumerate(prompts) if len(ids)}
    order = sorted(packed, key=lambda n: (packed[n], n))
    if not order:
        return []
    lengths = np.array([len(prompts[n]) for n in order])
    common = np.array([0, *(_common(packed[a], packed[b]) for a, b in pairwise(order))])
    found = [Group()]
    waiting = [(0, len(order), 0)]
    while waiting:
        start, end, group = waiting.pop()
        cuts = found[group].cuts
        base, others = cuts[-1] if cuts else 0, end - start - 1
        inner = common[start + 1 : end]
        if not others or others * (inner.max() - base) < worth:  # no cut within can pay
            found[group].members.extend(order[start:end])
            continue
        shared = int(min(inner.min(), lengths[start:end].min() - 1))
        if others * (shared - base) >= worth:
            group = len(found)
            found.append(Group((*cuts, shared)))
        borders = [start, *(start + 1 + np.flatnonzero(inner == inner.min())).tolist(), end]
        waiting += [(a, b, group) for a, b in pairwise(borders)][::-1]
    return [group for group in found if group.members]


def _common(a: bytes, b: bytes) -> int:
    """How many ids two prompts have in common at their beginning."""
    size = min(len(a), len(b)) // 4
    differ = np.frombuffer(a, ">u4", size) != np.frombuffer(b, ">u4", size)
    return int(differ.argmax()) if differ.any() else size
