"""Short items whose words a text holds, all of them or all but an edited one: whether the item is really there.

Of a short item little is left when a word is edited, and "the largest country in the world" is not "the largest ocean
in the world" with an edit. So what is lost may carry only a small part of the item's weight, a word with a slip of the
pen is not lost, and a very short item, or one with edits, must be a sentence, a line or a text of its own.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

from caravan.curate.words import fold, word_spans, words

HELD = 0.75
"""Share of an item's weight that must be left after edits; words with slips count as left."""

LOST = 1.35
"""How much a lost word may weigh, in times the mean of all, where the item must be a sentence of its own."""

_WORD = re.compile("[0-9A-Za-z]+")  # of ASCII texts
_BESIDE = " \t\"'`´‘’‚“”„«»()[]<>*_#-–—¿¡「」『』"
_ENDS = "\n\r.?!:;|…。．？！：；؟۔।॥"


class Spans:
    """Where the words of a text lie, as `word_spans` has it; only the lines that are asked for are looked at."""

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")  # no word goes over the end of a line
        self.firsts = words(self.lines).offsets.tolist()
        self.starts = [0, *accumulate(len(line) + 1 for line in self.lines)]
        self.read: dict[int, list[tuple[int, int]]] = {}

    def __len__(self) -> int:
        return int(self.firsts[-1])

    def __getitem__(self, place: int) -> tuple[int, int]:
        line = bisect_right(self.firsts, place) - 1
        if line not in self.read:
            text = self.lines[line]
            self.read[line] = [m.span() for m in _WORD.finditer(text)] if text.isascii() else word_spans(text)
        start, end = self.read[line][place - self.firsts[line]]
        return self.starts[line] + start, self.starts[line] + end


class Pair(NamedTuple):
    """Word `word` of an item is word `place` of a text; `slip`: not quite the same."""

    word: int
    place: int
    slip: bool = False


def with_slips(pairs: Sequence[Pair], item: Sequence[str], strange: Callable[[int], str]) -> list[Pair]:
    """The pairs, and those of lost words of the item (folded words) that stand where they should with a slip.

    `strange(place)` is the text's word there, folded, if the benchmark does not know it, else "": what it knows is no
    slip, as "Iran" is none of "Iraq".
    """
    given = {pair.word: pair for pair in pairs}
    found = list[Pair]()
    for word in range(len(item)):
        if word in given:
            found.append(given[word])
            continue
        ahead = [pair.place for pair in pairs if pair.word > word]
        low = found[-1].place + 1 if found else min(ahead) - 1
        high = min(ahead) if ahead else low + 2
        for place in range(low, min(high, low + len(item))):
            if is_slip(item[word], strange(place)):
                found.append(Pair(word, place, slip=True))
                break
    return found


def is_slip(one: str, other: str) -> bool:
    """Whether one folded word is likely the other with a slip of the pen; words with digits never are.

    In five letters one may be put in, left out or changed, in four two neighbours may have changed places.
    """
    if one == other or any(map(str.isdecimal, one + other)):
        return False
    longer = max(len(one), len(other))
    return (longer >= 4 and _swapped(one, other)) or _slips(one, other) <= longer // 5


def _swapped(one: str, other: str) -> bool:
    at = [n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b]
    return len(one) == len(other) and len(at) == 2 and at[1] == at[0] + 1 and sorted(one) == sorted(other)


def _slips(one: str, other: str) -> int:
    """The least number of letters put in, left out, changed or swapped, no letter twice (Damerau, 1964)."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]


def stands(text: str, spans: Spans, pairs: Sequence[Pair], weight: Sequence[float], *, by_itself: bool) -> bool:
    """Whether the item whose words weigh `weight` is in the text, whose words lie at `spans`, if `pairs` are equal.

    With `by_itself` it must be a sentence of its own; words at either end that replace lost ones belong to it.
    """
    lost = [w for n, w in enumerate(weight) if n not in {pair.word for pair in pairs}]
    if sum(lost) > (1 - HELD) * sum(weight):
        return False
    if by_itself and any(w > LOST * sum(weight) / len(weight) for w in lost):
        return False
    first, last = min(pair.place for pair in pairs), max(pair.place for pair in pairs)
    before = min(pair.word for pair in pairs)
    after = len(weight) - 1 - max(pair.word for pair in pairs)
    return not by_itself or any(
        is_sentence(text, spans[first - b][0], spans[last + a][1])
        for b in range(min(before, first) + 1)
        for a in range(min(after, len(spans) - 1 - last) + 1)
    )


def is_sentence(text: str, start: int, end: int) -> bool:
    """Whether this part is a sentence, a line or a whole text of its own; brackets, quotes and marks may enclose it."""
    before, after = text[:start].rstrip(_BESIDE), text[end:].lstrip(_BESIDE)
    return before[-1:] in ("", *_ENDS) and after[:1] in ("", *_ENDS)


def is_literal(item: str, text: str) -> bool:
    """Whether the item stands in the text sign for sign, white space apart, and no sign goes on behind it."""
    wanted, held = (fold("\n".join(map("".join, map(str.split, t.split("\n"))))) for t in (item.strip(), text))
    at = held.find(wanted)
    while at >= 0:
        after = held[at + len(wanted) : at + len(wanted) + 1]
        if after in ("", "\n") or after.isalnum():
            return True
        at = held.find(wanted, at + 1)
    return False
