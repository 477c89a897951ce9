"""LIMA: a thousand prompts and answers, thirty dialogues. The published form, and LLaMA-Factory's.

    {"conversations": ["How do magnets work?", "Picture ...", "And compasses?", "A compass ..."], "source": "wikihow"}
    {"instruction": "And compasses?", "input": "", "output": "A compass ...",
     "history": [["How do magnets work?", "Picture ..."]]}

In the first form the user begins and turns alternate. A last turn that nobody answers is cut (`trailing_user_turn`),
as in the test split, whose rows hold one prompt alone (`no_assistant_turn`); a blank turn refuses the row
(`empty_prompt`, `empty_response`). The second form converts as in `alpaca`.
"""

from collections.abc import Iterator, Sequence

from pydantic import JsonValue

from caravan.converters.converter import NO_MATCH, Match, Options
from caravan.converters.fields import RowError, as_text, each_row, fits, records, rest
from caravan.converters.pairs import pair
from caravan.converters.raw import own_id
from caravan.converters.schema import Converted, JsonObject, RawRow, Rejected
from caravan.converters.sources import alpaca

__all__ = ["HUB", "LICENCE", "VERSION", "Options", "convert", "group_key", "matches"]

VERSION = 1
LICENCE = "CC-BY-NC-SA-4.0"
HUB = "GAIR/lima"
ANSWERS_BY = "people"


def matches(sample: Sequence[JsonValue], name: str) -> Match:
    """Conversations that are bare strings are distinctive; the other form needs its name."""
    if fits(sample, lambda row: _bare(row.get("conversations"))):
        return Match(0.97, "conversations that are lists of bare strings")
    if fits(sample, lambda row: {"instruction", "output", "history"} <= row.keys() and not row.get("input")):
        if "lima" in name.lower():
            return Match(0.95, "instruction, output and history without input, and the file's name says LIMA")
        return Match(0.5, "instruction, output and history without input")
    return NO_MATCH


def group_key(row: RawRow, options: Options) -> str | None:  # noqa: ARG001 - part of the contract
    """Each row stands alone."""
    return None


def convert(group: Sequence[RawRow], options: Options) -> Iterator[Converted | Rejected]:  # noqa: ARG001
    """One example a row."""
    return each_row(group, _row)


def _row(row: JsonObject) -> Iterator[Converted | Rejected]:
    if "conversations" not in row and "instruction" in row:
        yield from alpaca.convert([RawRow(0, row)], alpaca.Options())
        return
    turns = [as_text("conversations", turn) for turn in records(row, "conversations")]
    if not turns:
        raise RowError("no_messages", "the conversation is empty")
    if len(turns) == 1:
        raise RowError("no_assistant_turn", "a prompt without an answer")
    answered = turns[: len(turns) // 2 * 2]
    history = list(zip(answered[:-2:2], answered[1:-2:2], strict=True))
    yield pair(
        [("conversations", answered[-2])],
        ("conversations", answered[-1]),
        history=history,
        tags=rest(row, "conversations"),
        own_id=own_id(row),
    )
    if len(answered) < len(turns):
        yield Rejected("trailing_user_turn", "the last prompt has no answer", lost=turns[-1])


def _bare(value: JsonValue) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(turn, str) for turn in value)
