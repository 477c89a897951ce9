"""Rows of the real files, and plain Python sets of what they say: the filter's rule for duplicates, written down again.

Of templates it knows nothing. It shares no code with the filter, so that the one can be held against the other.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import polars as pl

Turns = tuple[tuple[str, str], ...]

THRESHOLD, ANSWERS, WIDTH = 0.8, 0.5, 5  # the filter's defaults


def read(data: Path, files: dict[str, tuple[str, list[str]]]) -> dict[str, list[Turns]]:
    """Conversations by set, in the order of the files."""
    from caravan.curate.single import convert

    found: dict[str, list[Turns]] = {}
    for name, (converter, patterns) in files.items():
        rows = found.setdefault(name, [])
        for path in (path for pattern in patterns for path in sorted(data.glob(pattern))):
            if not path.stat().st_size:
                continue
            frame = convert(path, converter=converter).frame
            if "Chinese" in name:
                frame = frame.filter(pl.col("tags").str.json_path_match("$.language_prefix") == "zh")
            for messages in frame["messages"].to_list():
                rows.append(tuple((m["role"], m["content"]) for m in messages if m["role"] in ("user", "assistant")))
    return found


_WHITE = re.compile("[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
_ALONE = re.compile("[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3021-\u312f\u31a0-\u31ff\u3400-\ua4cf]")
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0]")


def tokens(text: str) -> list[str]:
    """What the filter's page calls tokens, written down again: folded, cut at white space, Han and the like alone."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    if not folded.isascii():
        parts = list[str]()
        for c in folded:
            kind = unicodedata.category(c)
            if kind == "Cf" or _UNSEEN.match(c):
                continue
            lone = bool(_ALONE.match(c)) and kind[0] in "LN" and kind != "Nd"
            if kind[0] == "M" and parts and parts[-1].endswith(" ") and len(parts[-1]) > 1:
                parts[-1] = f"{parts[-1][:-1]}{c} "  # a mark stays with its character
                continue
            parts.append(f" {c} " if lone else c)
        folded = "".join(parts)
    return [part for part in _WHITE.split(folded) if part]


def grams(turns: Iterable[tuple[str, str]], width: int, roles: tuple[str, ...] = ("user", "assistant")) -> set[str]:
    found = tokens("\n".join(text for role, text in turns if role in roles))
    return {"\x1f".join(found[i : i + width]) for i in range(max(1, len(found) - width + 1))} if found else set()


@lru_cache(maxsize=20_000)
def whole(turns: Turns) -> frozenset[str]:
    return frozenset(grams(turns, WIDTH))


def jaccard(a: Turns, b: Turns) -> float:
    one, other = whole(a), whole(b)
    return len(one & other) / max(len(one | other), 1)


def answers_alike(a: Turns, b: Turns) -> bool:
    one, other = (grams(turns, 1, ("assistant",)) for turns in (a, b))
    return len(one & other) >= ANSWERS * len(one | other)


def repeats(a: Turns, b: Turns) -> bool:
    """What the filter says that it drops, where nothing is a template."""
    return jaccard(a, b) >= THRESHOLD and answers_alike(a, b)
