"""Whether a text that shares an item's words is that item, or the same words with other numbers: a variant.

Both are aligned word by word, numbers by their value, so that "ten" is 10 and 1,000 is 1000. A number that
stands right where another stood makes a variant. What else was lost in one place and stands in another has moved; of
what is then left

    numbers lost and others there instead     a variant
    numbers lost alone                        an edit
    numbers added alone                       an edit, but a variant if a numeric answer is given and is not the item's

Numbers beside the part that is the item's are not compared, and those of programs neither: they are examples.
"""

import re
from collections import Counter
from difflib import SequenceMatcher
from functools import lru_cache

from caravan.curate.quantities import numbers
from caravan.curate.words import fold

_WORD = re.compile(r"[^\W_]+")
_SHORT = 3  # tokens: where so few stand for so few others, no number has moved
_MANY = 2000  # tokens from which on a text is not aligned: no question is that long

Token = str | float


def is_program(text: str) -> bool:
    """Whether a text holds Python code."""
    return re.search(r"^\s*def \w+\(", text, re.M) is not None


@lru_cache(maxsize=4096)
def has_numbers(question: str) -> bool:
    """Whether a question has numbers that matter."""
    return bool(numbers(question)) and not is_program(question)


def other_numbers(question: str, stretch: str, rest: str = "", answer: str = "") -> bool:
    """Whether `stretch`, what a text has of a question and a little around, asks the question with other numbers.

    `rest` is what the row says beside, in which the gold answer should stand.
    """
    ours, theirs = tokens(question), tokens(stretch)
    if max(len(ours), len(theirs)) > _MANY:
        return False
    lost, added = Counter[float](), Counter[float]()
    for tag, a, b, c, d in SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        if tag == "equal" or (tag == "insert" and a in (0, len(ours))):
            continue
        mine, other = _numbers(ours[a:b]), _numbers(theirs[c:d])
        if max(b - a, d - c) <= _SHORT and mine - other and other - mine:
            return True
        lost, added = lost + (mine - other), added + (other - mine)
    lost, added = lost - added, added - lost
    if lost:
        return bool(added)
    return bool(added) and _answers_otherwise(rest, answer)


def tokens(text: str) -> list[Token]:
    """Folded words and the values of numbers, in order."""
    found: list[Token] = []
    at = 0
    for number in numbers(text):
        found += _WORD.findall(fold(text[at : number.start]))
        found.append(number.value)
        at = number.end
    return found + _WORD.findall(fold(text[at:]))


def _numbers(part: list[Token]) -> Counter[float]:
    return Counter(token for token in part if isinstance(token, float))


def _answers_otherwise(rest: str, answer: str) -> bool:
    gold = numbers(answer)
    given = [number.value for number in numbers(rest)]
    return len(gold) == 1 and bool(given) and gold[0].value not in given
