r"""Numbers as people and models write them, exactly: `$1,234.50`, `−8`, `3/4`, `1½`, `১২`, `1.234,5`.

| written | read as |
|---|---|
| digits of any script | their decimal value |
| `-`, `−`, `–`, `+` right before a number, after no letter, digit or closing bracket | its sign (`5-3` is 5 and 3) |
| currency signs, `%`, units | nothing |
| `1,234`, `1,00,000`, `1'234`, a narrow or unbroken space before three digits | thousands |
| `1.50`, `18.00`, `.5` | decimals |
| `3/4`, `2 1/2`, `½`, `\frac{3}{4}` | fractions |

Where the comma is the decimal sign (`comma=True`) people write both ways: one `.` or `,` before exactly three digits
separates thousands, unless nought or more than three digits stand before it; any other begins the decimals, and of
two different signs the last does. There a plain space before three digits separates thousands too.
"""

import re
from fractions import Fraction

SIGN = "-+−–﹣－＋"
MONEY = r"\\?[$€£¥₹฿৳₽]"
SPACE = "\u00a0\u202f\u2009'’"
LONGEST = 60  # digits: what is longer is no answer to anything, and is left out

_SIGNED = rf"(?:(?<![\w)\]}}])(?P<sign>[{SIGN}])(?=(?:{MONEY})?\s?[\d.]))?(?:{MONEY}\s?(?P<owed>[{SIGN}])?)?"
_FRACTION = r"(?<![\d/⁄])(?:(?P<whole>\d{1,9})\s)?(?P<over>\d{1,9})\s?[/⁄]\s?(?P<under>\d{1,9})(?![\d/⁄])"
_BODY = rf"(?P<body>(?:\d|(?<![\w.])\.(?=\d))(?:[.,{SPACE}]?\d%s)*)"
_POINT = re.compile(f"{_SIGNED}(?:{_FRACTION}|{_BODY % ''})")
_COMMA = re.compile(f"{_SIGNED}(?:{_FRACTION}|{_BODY % '|[ ](?=[0-9]{3}(?![0-9]))'})")
_LATEX = re.compile(r"\\[dt]?frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}")
_SAME = str.maketrans({"٫": ".", "．": ".", "٬": ",", "½": " 1/2", "¼": " 1/4", "¾": " 3/4"})
_END = re.compile(r"\.(?=\s|$)|[\n。।]")
_LETTER = re.compile(r"[^\W\d_]")


def numbers(text: str, *, comma: bool = False) -> list[tuple[int, Fraction]]:
    """All numbers of a text, each with the place where it begins in `readable(text)`."""
    found = []
    for match in (_COMMA if comma else _POINT).finditer(readable(text)):
        values = _values(match, comma)
        if (match["sign"] or match["owed"] or "+") not in "+＋":
            values[:1] = [-value for value in values[:1]]
        found += [(match.start(), value) for value in values]
    return found


def only_number(text: str, *, comma: bool = False) -> Fraction | None:
    """The number that a text is, where it is one number and nothing else."""
    text = readable(text).strip()
    found = numbers(text, comma=comma) if (_COMMA if comma else _POINT).fullmatch(text) else []
    return found[0][1] if len(found) == 1 else None


def final_number(text: str, mark: re.Pattern[str], *, comma: bool = False) -> tuple[Fraction | None, str]:
    """The number that a text gives as its answer, and how it was found.

    After the last mark that a number follows in the same sentence: the number right after it (of an equation, its
    last side), else the last number there; but a mark that ends in a colon may only head a solution, so that there no
    word may stand before it. Where nothing is marked, the last number of the text.
    """
    marks = list(mark.finditer(text))
    end = len(text)
    for one in reversed(marks):
        sentence = readable(_END.split(text[one.end() : end].lstrip(), maxsplit=1)[0])
        end = one.start()
        before, equals, side = sentence.rpartition("=")
        found = numbers(side, comma=comma)
        if found and not (one[0].endswith((":", "：")) and _LETTER.search(before + equals + side[: found[0][0]])):
            value = found[0][1] if re.search(r"\w", side[: found[0][0]]) is None else found[-1][1]
            return value, f"the number after {one[0].strip()!r}"
    if marks and not marks[-1][0].endswith((":", "：")):
        return None, f"no number after {marks[-1][0].strip()!r}"
    found = numbers(text, comma=comma)
    return (found[-1][1], "the last number") if found else (None, "no number")


def readable(text: str) -> str:
    """The text with rarer ways to write a number written the usual way."""
    return _LATEX.sub(r" \1/\2", text).replace("{,}", ",").translate(_SAME)


def _values(match: re.Match[str], comma: bool) -> list[Fraction]:
    """The number of a match; several where the signs between its digits make no single one (`1,2,3`)."""
    if match["over"] is not None:
        under = int(match["under"])
        return [int(match["whole"] or 0) + Fraction(int(match["over"]), under)] if under else []
    return [Fraction(digits) for digits in _apart(match["body"], comma) if len(digits) <= LONGEST]


def _apart(body: str, comma: bool) -> list[str]:
    one = _one(body, comma)
    if one is not None:
        return [one]
    pieces = re.split(r"[^\d.]", body)
    if len(pieces) == 1:
        return body.split(".")
    return [digits for piece in pieces for digits in _apart(piece, comma)]


def _one(body: str, comma: bool) -> str | None:
    """The number with a point before its decimals and nothing else between digits; None where it is no one number."""
    digits, signs = re.split(r"\D", body), re.findall(r"\D", body)
    decimals = ""
    if signs and _begins_decimals(digits, signs, comma):
        decimals = "." + digits.pop()
        signs.pop()
    if signs:
        middle = (2, 3) if signs[0] == "," and not comma else (3,)
        grouped = len(set(signs)) == 1 and 0 < len(digits[0]) <= 3 and len(digits[-1]) == 3
        if not grouped or any(len(d) not in middle for d in digits[1:-1]) or (signs[0] == "." and not comma):
            return None
    return ("".join(digits) or "0") + decimals


def _begins_decimals(digits: list[str], signs: list[str], comma: bool) -> bool:
    """Whether the last sign between digits is the decimal sign."""
    last = signs[-1]
    if not comma:
        return last == "."
    if last not in ".," or signs.count(last) > 1:
        return False
    thousands = len(digits[-1]) == 3 and len(digits[0]) <= 3 and digits[0].strip("0") != ""
    return len(signs) > 1 or not thousands
