r"""hh-rlhf: two whole dialogues a row as texts, with "\n\nHuman: " and "\n\nAssistant: " before each turn.

    {"chosen": "\n\nHuman: Hi\n\nAssistant: Hello!", "rejected": "\n\nHuman: Hi\n\nAssistant: What?"}
    {"prompt": "\n\nHuman: Hi\n\nAssistant:", "chosen": " Hello!", "rejected": " What?"}

A mark counts at the beginning of a text and after a blank line; one space behind it belongs to it, all other white
space is the turn's own. A text without marks is refused (`no_turns`), and one that says something before the first
(`text_before_first_turn`). What the dialogues share becomes the prompt, and what else is refused:
`caravan.converters.preferences`. In the second form, which other publishers made of the first, an answer that repeats
the prompt is the whole dialogue. All other fields are tags.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from pydantic import JsonValue

from caravan.converters.chat import Turn, spoken
from caravan.converters.converter import NO_MATCH, Match
from caravan.converters.converter import Options as Base
from caravan.converters.fields import RowError, each_row, fits, licence, optional_text, row_tags, text
from caravan.converters.preferences import preference
from caravan.converters.raw import own_id
from caravan.converters.schema import ConvertedPair, JsonObject, Preference, RawRow, Rejected, Role

VERSION = 1
LICENCE = "MIT"
HUB = "Anthropic/hh-rlhf"
GIVES = Preference

_MARK: Final = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):[ ]?")
_ROLES: Final[dict[str, Role]] = {"Human": "user", "Assistant": "assistant"}


class Options(Base):
    """This converter has no options."""


def matches(sample: Sequence[JsonValue], name: str) -> Match:  # noqa: ARG001 - the marks decide
    """Certain where a text begins with a mark and stands beside chosen and rejected."""
    if fits(sample, _has_marks):
        return Match(0.98, "chosen and rejected as texts with Human: and Assistant: in them")
    return NO_MATCH


def group_key(row: RawRow, options: Options) -> str | None:  # noqa: ARG001 - part of the contract
    """Each row stands alone."""
    return None


def convert(group: Sequence[RawRow], options: Options) -> Iterator[ConvertedPair | Rejected]:  # noqa: ARG001
    """One preference a row."""
    return each_row(group, _row)


def _row(row: JsonObject) -> Iterator[ConvertedPair | Rejected]:
    prompt = optional_text(row, "prompt")
    chosen, rejected = (_turns(name, prompt, text(row, name)) for name in ("chosen", "rejected"))
    made = preference(chosen, rejected, row_tags(row, ("prompt", "chosen", "rejected")), own_id(row))
    made.licence = licence(row)
    yield made


def _turns(name: str, prompt: str, side: str) -> list[Turn]:
    whole = side if side.startswith(prompt) else prompt + side
    marks = list(_MARK.finditer(whole))
    if not marks:
        raise RowError("no_turns", f"{name} has no Human: and no Assistant: in it")
    if whole[: marks[0].start()].strip():
        raise RowError("text_before_first_turn", f"{name} says something before its first turn")
    ends = [after.start() for _, after in pairwise(marks)] + [len(whole)]
    return [spoken(_ROLES[mark[1]], whole[mark.end() : end]) for mark, end in zip(marks, ends, strict=True)]


def _has_marks(row: JsonObject) -> bool:
    sides = (row.get("chosen"), row.get("rejected"))
    first = row.get("prompt") or sides[0]
    return all(isinstance(side, str) for side in sides) and isinstance(first, str) and bool(_MARK.match(first))
