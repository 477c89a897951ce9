"""Numbers in Chinese characters: 三百二十, 一千零五, 3万5000, 1.2万, 一〇五."""

import re
from fractions import Fraction

DIGITS = {
    c: n for n, cs in enumerate(("〇零", "一壹", "二两兩贰", "三", "四", "五", "六", "七", "八", "九")) for c in cs
}
SMALL = {"十": 10, "百": 100, "千": 1000}
LARGE = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
UNITS = "".join(SMALL | LARGE)

LONGEST = 60  # characters: what is longer is no answer

_PLAIN = r"(?<![\d,])\d[\d,]{0,30}(?:\.\d{1,30})?"
_MIXED = re.compile(rf"{_PLAIN}[{UNITS}](?:{_PLAIN}[{UNITS}]?)*")
_WHOLLY = re.compile(rf"[\s*:：]*[{''.join(DIGITS)}{UNITS}]+")


def with_digits(text: str, mark: re.Pattern[str]) -> str:
    """The text with digits for units after digits, and for numbers in characters that come right after a mark.

    Elsewhere characters for numbers are left: most are parts of words (一共, 第一, 一些).
    """
    parts, last = [], 0
    for one in mark.finditer(text):
        number = _WHOLLY.match(text, one.end())
        if number:
            parts += [text[last : one.end()], " ", read(number[0].strip(" \t\n*:：")) or number[0]]
            last = number.end()
    marked = "".join([*parts, text[last:]])
    return _MIXED.sub(lambda m: read(m[0].replace(",", "")) or m[0], marked)


def read(number: str) -> str:
    """The number in digits, or "" where the characters make none."""
    if len(number) > LONGEST:
        return ""
    total, section, pending, before = Fraction(0), Fraction(0), "", 0
    for character in number:
        if character in SMALL:
            section += (Fraction(pending) if pending else 1) * SMALL[character]
            pending = ""
        elif character in LARGE:
            unit, section = LARGE[character], section + Fraction(pending or 0)
            if not section and not total:
                return ""
            # A larger unit after a smaller multiplies all (三万亿), else the last part (一亿二千万).
            total = (total + section) * unit if unit > before else total + section * unit
            section, pending, before = Fraction(0), "", unit
        else:
            pending += str(DIGITS.get(character, character))
    total += section + Fraction(pending or 0)
    return str(total) if total.denominator == 1 else str(float(total))
