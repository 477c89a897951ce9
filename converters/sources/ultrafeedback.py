"""UltraFeedback-binarized, and all rows of chosen and rejected answers in the layouts that TRL takes.

    {"prompt": "Hi", "chosen": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}],
     "rejected": [...], "score_chosen": 8.5, "score_rejected": 3.0}
    {"chosen": [...], "rejected": [...]}                                      the prompt is in both (implicit)
    {"prompt": [{"role": "user", "content": "Hi"}], "chosen": [...], "rejected": [...]}             (explicit)
    {"prompt": "Hi", "chosen": "Hello!", "rejected": "What?"}                                       (texts)

The prompt may also be called `question` or `instruction` (with `input`, and `history` before it, as in LLaMA-Factory),
or stand in `messages` or `conversations`; the answers `chosen_messages` or `response_chosen`, and so on. A side is a
text, one message, or messages; one that holds a turn of the user is a whole dialogue: it must begin with a prompt of
messages (`prompt_disagrees`), while a prompt text that is not in it stays a tag. A `system` text comes first where no
message says such a thing. What the dialogues share becomes the prompt, and what else is refused:
`caravan.converters.preferences`; typed parts, tool calls, weights: `caravan.converters.chat`.

Tags are all other fields: scores, models, ratings; `messages` only where they do not repeat the chosen side. A row's
own id is its `id`, else its `prompt_id`.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple

from pydantic import Field as Setting
from pydantic import JsonValue

from caravan.converters.chat import Reading, Reasoning, Turn, is_chat, read_turns, spoken
from caravan.converters.converter import NO_MATCH, Match, join_fields
from caravan.converters.converter import Options as Base
from caravan.converters.fields import RowError, absent, as_text, each_row, fits, licence, optional_text, row_tags
from caravan.converters.pairs import earlier, real_input
from caravan.converters.preferences import dialogue, is_dialogue, preference, read_answer
from caravan.converters.raw import own_id
from caravan.converters.roles import RoleMap
from caravan.converters.schema import ConvertedPair, JsonObject, Preference, RawRow, Rejected, Role

VERSION = 1
LICENCE = "MIT"
HUB = "trl-lib/ultrafeedback_binarized"
GIVES = Preference

SIDES: Final = (
    ("chosen", "rejected"),
    ("chosen_messages", "rejected_messages"),
    ("response_chosen", "response_rejected"),
)
PROMPTS: Final = ("prompt", "question", "instruction")
LISTS: Final = ("messages", "conversations", "conversation")
_HISTORY: Final[tuple[Role, Role]] = ("user", "assistant")


class Options(Base):
    """`roles`: further names of roles. `reasoning`: a model's reasoning goes to tags, or into the text."""

    roles: RoleMap = Setting(default_factory=dict)
    reasoning: Reasoning = "tags"


def matches(sample: Sequence[JsonValue], name: str) -> Match:  # noqa: ARG001 - the keys decide
    """Certain about messages of role and content on both sides, nearly so about texts with a prompt."""
    for sides in SIDES:
        if fits(sample, partial(_has_messages, sides)):
            return Match(0.97, f"{sides[0]} and {sides[1]} of role and content")
        if fits(sample, partial(_has_texts, sides)):
            return Match(0.9, f"a prompt, {sides[0]} and {sides[1]}")
    return NO_MATCH


def group_key(row: RawRow, options: Options) -> str | None:  # noqa: ARG001 - part of the contract
    """Each row stands alone."""
    return None


def convert(group: Sequence[RawRow], options: Options) -> Iterator[ConvertedPair | Rejected]:
    """One preference a row."""
    return each_row(group, lambda row: _row(row, options))


def _row(row: JsonObject, options: Options) -> Iterator[ConvertedPair | Rejected]:
    how = Reading(roles=options.roles, reasoning=options.reasoning)
    names = next((names for names in SIDES if any(name in row for name in names)), SIDES[0])
    for name in names:
        if name not in row:
            raise RowError(f"missing_field:{name}", f"the row has no field {name}")
    sides = [read_answer(name, row[name], how) for name in names]
    asked = _asked(row, sides, how)
    dialogues = [dialogue(asked.turns, side) for side in sides]
    used = [*names, *asked.used, *(name for name in LISTS if row.get(name) == row[names[0]])]
    system = optional_text(row, "system")
    if system.strip() and not any(turn.role == "system" for turns in dialogues for turn in turns):
        used.append("system")
        dialogues = [[spoken("system", system), *turns] for turns in dialogues]
    own = own_id(row)
    if own is None and (own := own_id(row, "prompt_id")) is not None:
        used.append("prompt_id")
    made = preference(dialogues[0], dialogues[1], row_tags(row, used) | asked.tags, own)
    made.licence = licence(row)
    yield made


class _Asked(NamedTuple):
    """The turns before the answers, the fields that they come from, and what to note about them."""

    turns: list[Turn]
    used: list[str]
    tags: JsonObject


def _asked(row: JsonObject, sides: Sequence[Sequence[Turn]], how: Reading) -> _Asked:
    whole = all(is_dialogue(side) for side in sides)
    name = next((n for n in (PROMPTS if whole else (*PROMPTS, *LISTS)) if not absent(row.get(n))), "")
    value = row.get(name)
    if isinstance(value, list):
        return _Asked(read_turns(name, value, how), [name], {})
    if whole:
        said = isinstance(value, str) and any(t.role == "user" and t.content.strip() == value.strip() for t in sides[0])
        return _Asked([], [name] if said else [], {})
    if not name:
        raise RowError("missing_field:prompt", "the row has no field prompt, and the answers hold none")
    before = [
        spoken(role, said) for pair in earlier(row.get("history")) for role, said in zip(_HISTORY, pair, strict=True)
    ]
    tags: JsonObject = {}
    parts = [(name, as_text(name, value))]
    if name == "instruction":
        parts.append(("input", real_input(optional_text(row, "input"), tags)))
    asked = spoken("user", join_fields(*parts)[0])
    return _Asked([*before, asked], [name, "history", *(n for n, _ in parts)], tags)


def _has_messages(sides: tuple[str, str], row: JsonObject) -> bool:
    return all(is_chat(row.get(side)) or is_chat([row.get(side)]) for side in sides)


def _has_texts(sides: tuple[str, str], row: JsonObject) -> bool:
    prompts = (row.get(name) for name in PROMPTS)
    return all(isinstance(row.get(side), str) for side in sides) and any(
        isinstance(prompt, str) or is_chat(prompt) for prompt in prompts
    )
