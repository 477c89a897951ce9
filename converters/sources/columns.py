"""Any JSON rows, described without code: which field holds what. Only on request, no file is guessed to be this.

`curate convert FILE --columns user=question,assistant=answer`, or in a recipe `columns` and `roles` of a source.

    {"question": "Why is the sky blue?", "answer": "Air scatters blue light most.", "votes": 7}

Keys of `columns`, in one of two forms:

- single answers: `user` (or `prompt`) and `assistant` (or `response`), and if there are any `query` (joined to the
  prompt by a blank line), `system` and `history` (pairs of user and assistant), as LLaMA-Factory names them;
- conversations: `messages`, the field that holds the list, `role` and `content`, the keys in each message when they
  have other names, and `system`. `roles` maps names of speakers to roles.

A field may lie deeper: `answers.0.text` (a field with that very name comes first). `user`, `assistant` and
`messages` must be there (`missing_field:NAME`), the others may be left out. All other fields are tags.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Final

from pydantic import AfterValidator, JsonValue
from pydantic import Field as Setting

from caravan.converters.chat import Reading, Reasoning, conversation, read_turns, spoken
from caravan.converters.converter import NO_MATCH, Match
from caravan.converters.converter import Options as Base
from caravan.converters.fields import RowError, absent, as_text, each_row, rest
from caravan.converters.pairs import earlier, pair
from caravan.converters.raw import own_id
from caravan.converters.roles import RoleMap
from caravan.converters.schema import Converted, JsonObject, RawRow, Rejected
from caravan.errors import did_you_mean

VERSION = 1
LICENCE = ""
HUB = None
SAME: Final = {"prompt": "user", "response": "assistant"}
SINGLE: Final = ("system", "history", "user", "query", "assistant")
CHAT: Final = ("messages", "role", "content", "system")


def _check(columns: dict[str, str]) -> dict[str, str]:
    """The columns under one name each; `ValueError` says what is missing or unknown."""
    known = {*SINGLE, *CHAT, *SAME}
    for name in columns:
        if name not in known:
            raise ValueError(f"unknown column {name!r}; {did_you_mean(name, known)}")
    named = {SAME.get(name, name): field for name, field in columns.items()}
    if len(named) < len(columns):
        raise ValueError("prompt and user, and response and assistant, mean the same: give one of them")
    if not ({"messages"} <= named.keys() <= set(CHAT) or {"user", "assistant"} <= named.keys() <= set(SINGLE)):
        raise ValueError(
            "give user and assistant (and query, system, history), or messages (and role, content, system)"
        )
    return named


class Options(Base):
    """`columns`: what lies in which field. `roles`: names of speakers. `reasoning`: as in `messages`."""

    columns: Annotated[dict[str, str], AfterValidator(_check)]
    roles: RoleMap = Setting(default_factory=dict)
    reasoning: Reasoning = "tags"


def matches(sample: Sequence[JsonValue], name: str) -> Match:  # noqa: ARG001 - part of the contract
    """Never by itself."""
    return NO_MATCH


def group_key(row: RawRow, options: Options) -> str | None:  # noqa: ARG001 - part of the contract
    """Each row stands alone."""
    return None


def convert(group: Sequence[RawRow], options: Options) -> Iterator[Converted | Rejected]:
    """One example a row."""
    return each_row(group, lambda row: _row(row, options))


def _row(row: JsonObject, options: Options) -> Iterator[Converted | Rejected]:
    columns = options.columns
    system = _optional_text(row, columns.get("system"))
    if "messages" not in columns:
        user, query, assistant = columns["user"], columns.get("query"), columns["assistant"]
        yield pair(
            [(user, _text(row, user)), *([] if query is None else [(query, _optional_text(row, query))])],
            (assistant, _text(row, assistant)),
            system=system,
            history=earlier(_optional(row, columns.get("history")), columns.get("history", "")),
            tags=_tags(row, list(columns.values())),
            own_id=own_id(row),
        )
        return
    how = Reading(options.roles, columns.get("role", "role"), columns.get("content", "content"), options.reasoning)
    field = columns["messages"]
    turns = read_turns(field, _required(row, field), how)
    used = [field]
    if system.strip() and not any(turn.role == "system" for turn in turns):
        turns.insert(0, spoken("system", system))
        used.append(columns["system"])
    yield from conversation(turns, _tags(row, used), own_id(row))


def _find(value: JsonValue, path: str) -> tuple[bool, JsonValue]:
    """Whether the path leads somewhere, and to what."""
    if isinstance(value, dict) and path in value:
        return True, value[path]
    head, dot, tail = path.partition(".")
    if dot and isinstance(value, dict) and head in value:
        return _find(value[head], tail)
    if isinstance(value, list) and head.isdecimal() and int(head) < len(value):
        return _find(value[int(head)], tail) if dot else (True, value[int(head)])
    return False, None


def _required(row: JsonObject, path: str) -> JsonValue:
    found, value = _find(row, path)
    if not found:
        raise RowError(f"missing_field:{path}", f"the row has no field {path}")
    return value


def _optional(row: JsonObject, path: str | None) -> JsonValue:
    return None if path is None else _find(row, path)[1]


def _text(row: JsonObject, path: str) -> str:
    return as_text(path, _required(row, path))


def _optional_text(row: JsonObject, path: str | None) -> str:
    value = _optional(row, path)
    return "" if path is None or absent(value) else as_text(path, value)


def _tags(row: JsonObject, used: list[str]) -> JsonObject:
    """What was not used: of a field that lies deeper, its surroundings stay (null where it was an item of a list)."""
    left: JsonValue = row
    for path in used:
        left = _without(left, path)
    return rest(left) if isinstance(left, dict) else {}


def _without(value: JsonValue, path: str) -> JsonValue:
    head, dot, tail = path.partition(".")
    if isinstance(value, dict):
        if path in value:
            return {k: v for k, v in value.items() if k != path}
        return {k: _without(v, tail) if dot and k == head else v for k, v in value.items()}
    if isinstance(value, list) and head.isdecimal():
        return [(_without(v, tail) if dot else None) if i == int(head) else v for i, v in enumerate(value)]
    return value
