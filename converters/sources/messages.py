"""Chat rows: OpenAI's fine-tuning files, TRL, open-instruct, LLaMA-Factory's typed parts, prompt and response.

    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!", "weight": 1}]}
    {"prompt": [{"role": "user", "content": "Hi"}], "completion": [{"role": "assistant", "content": "Hello!"}]}
    {"prompt": "Hi", "response": "Hello!"}

`conversation` and `conversations` may stand for `messages`, `completion` for `response`; a text there is one message
of the user or of the assistant. A `system` text beside messages that have none comes first. Names of roles:
`caravan.converters.roles`, further ones by the option `roles` ({UTILISATEUR = "user"}); an unknown one refuses the
row (`unknown_role:NAME`). Who may speak when, how typed parts, reasoning and tool calls become text, and where
weights go: `caravan.converters.chat`. All other fields of the row (`tools`, `source`, ...) are tags.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from pydantic import Field as Setting
from pydantic import JsonValue

from caravan.converters.chat import Reading, Reasoning, conversation, is_chat, read_side, read_turns, spoken
from caravan.converters.converter import NO_MATCH, Match
from caravan.converters.converter import Options as Base
from caravan.converters.fields import RowError, each_row, fits, has_keys, licence, optional_text, row_tags
from caravan.converters.raw import own_id
from caravan.converters.roles import RoleMap
from caravan.converters.schema import Converted, JsonObject, RawRow, Rejected

VERSION = 1
LICENCE = ""
HUB = None
LISTS: Final[tuple[str, ...]] = ("messages", "conversation", "conversations")
ANSWERS: Final[tuple[str, ...]] = ("completion", "response")


class Options(Base):
    """`roles`: further names of roles. `reasoning`: a model's reasoning goes to tags, or into the text."""

    roles: RoleMap = Setting(default_factory=dict)
    reasoning: Reasoning = "tags"


def matches(sample: Sequence[JsonValue], name: str) -> Match:  # noqa: ARG001 - the keys decide
    """Certain about lists of role and content; prompt and response as bare texts could be many things."""
    for field in LISTS:
        if fits(sample, partial(_has_chat, field)):
            return Match(0.96, f"{field} of role and content")
    for answer in ANSWERS:
        if fits(sample, partial(_has_chat, "prompt")) and has_keys(sample, answer):
            return Match(0.95, f"a prompt of messages, and a {answer}")
        if fits(sample, partial(_has_texts, answer)):
            return Match(0.75, f"prompt and {answer} as texts")
    return NO_MATCH


def group_key(row: RawRow, options: Options) -> str | None:  # noqa: ARG001 - part of the contract
    """Each row stands alone."""
    return None


def convert(group: Sequence[RawRow], options: Options) -> Iterator[Converted | Rejected]:
    """One example a row."""
    return each_row(group, lambda row: _row(row, options))


def _row(row: JsonObject, options: Options) -> Iterator[Converted | Rejected]:
    how = Reading(roles=options.roles, reasoning=options.reasoning)
    used = [name for name in LISTS if name in row][:1]
    if used:
        turns = read_turns(used[0], row[used[0]], how)
    else:
        used = ["prompt", next((name for name in ANSWERS if name in row), "messages")]
        for name in reversed(used):
            if name not in row:
                raise RowError(f"missing_field:{name}", f"the row has no field {name}")
        turns = read_side("prompt", row["prompt"], "user", how)
        turns += read_side(used[1], row[used[1]], "assistant", how)
    system = optional_text(row, "system")
    if system.strip() and not any(turn.role == "system" for turn in turns):
        turns.insert(0, spoken("system", system))
        used.append("system")
    for made in conversation(turns, row_tags(row, used), own_id(row)):
        if isinstance(made, Converted):
            made.licence = licence(row)
        yield made


def _has_chat(field: str, row: JsonObject) -> bool:
    return is_chat(row.get(field))


def _has_texts(answer: str, row: JsonObject) -> bool:
    return isinstance(row.get("prompt"), str) and isinstance(row.get(answer), str) and "instruction" not in row
