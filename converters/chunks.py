"""Dialogues that were published in chunks `<base>_<n>`, joined again where they fit.

`n` is a turn offset: the number of turns of the dialogue that lie before the chunk. A chunk continues another when
`n` is where the other ends, or one less and the turn in between is there twice. A counter of rows (`identity_0`,
`identity_1`, ...) looks the same and must join nothing: as offsets, its numbers say that rows of several turns lie
over one another, which chunks never do by more than the one repeated turn. Where a base has no chunk 0, only a
repeated turn is proof enough.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from re import DOTALL, compile

from caravan.converters.schema import JsonObject
from caravan.converters.turns import Turn

_CHUNK = compile(r"(.+)_([0-9]{1,9})", DOTALL)


@dataclass(slots=True)
class Chunk:
    """One raw row with turns.

    `number` is the offset in its id, None where the id has none; `system` a system text that the row states outside
    of its turns, so that it does not count in offsets.
    """

    row: int
    own_id: str | None
    number: int | None
    system: Turn | None
    turns: list[Turn]
    tags: JsonObject

    @property
    def end(self) -> int:
        """The offset at which the next chunk begins."""
        return (self.number or 0) + len(self.turns)


def chunk_id(own_id: str) -> tuple[str, int] | None:
    """Base and number of an id that ends in an underscore and digits."""
    found = _CHUNK.fullmatch(own_id)
    return (found[1], int(found[2])) if found else None


def join(chunks: Iterable[Chunk]) -> list[list[Chunk]]:
    """The chunks of one base id as dialogues, each a list of chunks in order of their offsets.

    The order of the rows in the file does not count, but where a chunk fits two others, the one whose row comes
    first goes with the row that comes first. Dialogues come in the order of their first rows.
    """
    ordered = sorted(chunks, key=lambda c: (c.number or 0, c.row))
    if len(ordered) < 2 or any(c.number is None for c in ordered) or not _are_offsets(ordered):
        return [[c] for c in sorted(ordered, key=lambda c: c.row)]
    dialogues = list[list[Chunk]]()
    open_at = defaultdict[int, list[list[Chunk]]](list)  # by the offset of their ends
    for chunk in ordered:
        number = chunk.number or 0
        repeated = (d for d in open_at[number + 1] if repeats(d[-1], chunk))
        follows = open_at[number] if ordered[0].number == 0 else []
        before = next((d for d in chain(repeated, follows) if _same_system(d[0], chunk)), None)
        if before is None:
            before = []
            dialogues.append(before)
        else:
            open_at[before[-1].end].remove(before)
        before.append(chunk)
        open_at[chunk.end].append(before)
    return sorted(dialogues, key=lambda d: min(c.row for c in d))


def repeats(before: Chunk, after: Chunk) -> bool:
    """Whether `after` begins with the very turn that `before` ends with."""
    number, (a, b) = after.number or 0, (before.turns[-1], after.turns[0])
    return before.end == number + 1 and number > (before.number or 0) and (a.role, a.text) == (b.role, b.text)


def turns_of(dialogue: Sequence[Chunk]) -> list[Turn]:
    """All turns of a joined dialogue; a repeated turn is there once and knows both its places."""
    turns = [dialogue[0].system] if dialogue[0].system else []
    for i, chunk in enumerate(dialogue):
        if i and repeats(dialogue[i - 1], chunk):
            turns[-1] = turns[-1]._replace(places=turns[-1].places + chunk.turns[0].places)
            turns += chunk.turns[1:]
        else:
            turns += chunk.turns
    return turns


def _same_system(first: Chunk, chunk: Chunk) -> bool:
    return chunk.system is None or (first.system is not None and first.system.text == chunk.system.text)


def _are_offsets(ordered: Sequence[Chunk]) -> bool:
    """Whether the numbers can be turn offsets: no chunk begins inside an earlier one, save at a repeated turn."""
    end = 0  # the latest end of all chunks with a smaller number
    last = set[tuple[str, str]]()  # the turns that stand right before it
    for _, copies in groupby(ordered, key=lambda c: c.number or 0):
        same = list(copies)
        for chunk in same:
            first = chunk.turns[0]
            inside = end - (chunk.number or 0)
            if inside > 1 or (inside == 1 and (first.role, first.text) not in last):
                return False
        latest = max(end, *(c.end for c in same))
        if latest > end:
            last = set()
        end = latest
        last |= {(c.turns[-1].role, c.turns[-1].text) for c in same if c.end == end}
    return True
