"""Cutting a long conversation between its exchanges, as pure functions over token counts.

An exchange is a pair: the tokens of the question, the tokens of the reply (all that is said until the next question).
Every message costs `PER_MESSAGE` tokens more for its role marks, as in FastChat's `split_long_conversation.py`.
Besides our own rule, which loses nothing, the two published splitters are here with their losses: what they do to a
list of pairs is documented at each.
"""

from collections.abc import Sequence
from math import ceil
from typing import Literal, NamedTuple

PER_MESSAGE = 6

Pairs = Sequence[tuple[int, int]]


class Split(NamedTuple):
    """`parts` are ranges of pair numbers, in order and never empty; `lost` the numbers of pairs that lie in none."""

    parts: list[range]
    lost: list[int]


def estimate_tokens(text: str, bytes_per_token: float) -> int:
    """UTF-8 bytes over `bytes_per_token`, rounded up: deterministic, cheap, and an estimate."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return ceil(size / bytes_per_token)


def split(pairs: Pairs, limit: int, *, head: int = 0, oversize: Literal["keep", "refuse"] = "keep") -> Split:
    """Fill each part with as many pairs as fit into `limit` tokens.

    `head` is what every part pays first (a system turn with its marks). A pair that is over the limit by itself is
    a part of its own, or lost with `oversize="refuse"`. Every pair lies in one part or in `lost`.
    """
    parts, lost = list[range](), list[int]()
    start, used = 0, head
    for i, cost in enumerate(_costs(pairs)):
        if used + cost > limit and i > start:
            parts.append(range(start, i))
            start, used = i, head
        used += cost
        if used > limit:  # alone in its part, and still too long
            if oversize == "keep":
                parts.append(range(i, i + 1))
            else:
                lost.append(i)
            start, used = i + 1, head
    if start < len(pairs):
        parts.append(range(start, len(pairs)))
    return Split(parts, lost)


def split_fastchat(pairs: Pairs, limit: int) -> Split:
    """FastChat's splitter: the last part is lost when it begins after the last cut.

    The last pair closes a part only if it causes no cut itself; a cut at the last pair loses that pair. A pair over
    the limit is kept whole where another follows; as the first pair it also gives an empty conversation, left out
    here.
    """
    return _published(pairs, limit, skip_oversize=False)


def split_open_instruct(pairs: Pairs, limit: int) -> Split:
    """open-instruct's splitter: FastChat's, but a pair over the limit is lost.

    Its length still counts against the next pair, which therefore causes a cut of its own and is lost with it when
    nothing follows.
    """
    return _published(pairs, limit, skip_oversize=True)


def _published(pairs: Pairs, limit: int, *, skip_oversize: bool) -> Split:
    parts = list[range]()
    start = used = 0
    for i, cost in enumerate(_costs(pairs)):
        if used + cost > limit:
            parts.append(range(start, i))
            start = i + 1 if skip_oversize and cost > limit else i
            used = 0
        elif i == len(pairs) - 1:
            parts.append(range(start, i + 1))
        used += cost
    kept = {i for part in parts for i in part}
    return Split([part for part in parts if part], [i for i in range(len(pairs)) if i not in kept])


def _costs(pairs: Pairs) -> list[int]:
    return [question + reply + 2 * PER_MESSAGE for question, reply in pairs]
