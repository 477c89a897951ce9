"""The numbers of a text in order, whether in digits or in English words: what makes one problem in words another.

`1,234`, `1234.0`, `$1,234` and "one thousand two hundred thirty-four" are one number; so are `1/2`, `½`, `50%` and
"half", and so are `3/4` and "three quarters".
Words that are numbers only at times ("one", "once", "second") are none.
"""

import re
import unicodedata
from typing import NamedTuple

# fmt: off
_UNITS = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
# fmt: on
_SMALL = {word: float(n) for n, word in enumerate(_UNITS)} | {word: 10.0 * n for n, word in enumerate(_TENS, 2)}
_LARGE = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
_PARTS = {
    "half": 2,
    "halve": 2,
    "third": 3,
    "quarter": 4,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "eighth": 8,
    "tenth": 10,
}
_OTHER = {"half": 0.5, "quarter": 0.25, "twice": 2.0, "double": 2.0, "thrice": 3.0, "triple": 3.0, "dozen": 12.0}
WORDS = (*_PARTS, *_SMALL, *_LARGE, *_OTHER)
"""English words of which numbers are made."""

_DIGITS = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+\.\d+|\d+|(?<![\w.])\.\d+"
_BIG = "|".join(_LARGE)
_UP_TO_99 = rf"(?:(?:{'|'.join(_TENS)})[\s-](?:{'|'.join(_UNITS)})|{'|'.join(sorted(_SMALL, key=len, reverse=True))})"
_NUMBER = re.compile(
    rf"(?P<over>\d{{1,4}})\s?[/⁄]\s?(?P<under>\d{{1,4}})(?![\d/])|(?P<digits>{_DIGITS})"
    rf"(?:\s?(?P<percent>%|percent\b|per cent\b)|\s(?P<times>{_BIG})\b)?|(?P<sign>[¼-¾⅐-⅞])"
    rf"|\b(?P<many>an?|one|{'|'.join(list(_SMALL)[2:10])})[\s-](?P<part>{'|'.join(_PARTS)})s?\b"
    rf"|\b(?P<word>(?:{_UP_TO_99}|(?:a\s)?(?:{_BIG}))(?:[\s-](?:{_BIG})|(?:(?<=hundred)|(?<=thousand)|(?<=million))"
    rf"(?:\sand)?\s{_UP_TO_99})*|{'|'.join(_OTHER)})\b",
    re.I,
)


# A text without any of these has no number: most texts need no closer look.
_SIGNS, _LETTERS = re.compile(r"\d|[¼-¾⅐-⅞]"), re.compile("[a-z]+")
_NAMED = frozenset((*WORDS, *(f"{part}s" for part in _PARTS)))


class Number(NamedTuple):
    """A number, and from which to which character it stands."""

    value: float
    start: int
    end: int


def numbers(text: str) -> list[Number]:
    """The numbers of a text in order. Values are rounded to nine digits, so that equal ones compare equal."""
    if not _SIGNS.search(text) and _NAMED.isdisjoint(_LETTERS.findall(text.lower())):
        return []
    found = []
    for match in _NUMBER.finditer(text):
        value = _value(match)
        if value is not None:
            found.append(Number(float(f"{value:.9g}"), match.start(), match.end()))
    return found


def _value(match: re.Match[str]) -> float | None:
    if match["over"]:
        return int(match["over"]) / int(match["under"]) if int(match["under"]) else None
    if match["digits"]:
        value = float(match["digits"].replace(",", "")) * _LARGE.get((match["times"] or "").lower(), 1.0)
        return value / 100 if match["percent"] else value
    if match["part"]:
        return _SMALL.get(match["many"].lower(), 1.0) / _PARTS[match["part"].lower()]
    if match["sign"]:
        return unicodedata.numeric(match["sign"])
    words = [word for word in re.split(r"[\s-]+", match[0].lower()) if word not in ("a", "and")]
    if words == ["one"]:
        return None
    total = part = 0.0
    for word in words:
        if word in _LARGE:
            part = (part or 1.0) * _LARGE[word]
            if word != "hundred":
                total, part = total + part, 0.0
        else:
            part += _SMALL.get(word, _OTHER.get(word, 0.0))
    return total + part
