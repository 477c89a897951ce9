"""Lists of chat messages as they are found in files, read into one conversation without losing anything silently.

Who may speak when: these files say exactly what each message is, so the order is kept as it stands, with two users
or two tool results in a row, a system text in the middle, an assistant that begins. A conversation needs an answer
(`no_assistant_turn`) and something that was answered (`no_user_turn`). What nobody answers at the end is cut
(`trailing_user_turn`, ...). A blank system message says nothing and is left out; a blank user or assistant message
refuses the row (`empty_prompt`, `empty_response`); a tool may return nothing.

What becomes text: the content; or its typed parts in order (text, tool calls; reasoning on request), joined by a
blank line; then, by a blank line too, the message's own tool calls. A call that is not text already is written as
{"name": ..., "arguments": ...}. Reasoning on request is set between <think> and </think>, each on a line of its own.
Parts that are no text, such as pictures, refuse the row (`unsupported_part:TYPE`).

What becomes tags: every other field of a message, in `message_fields`, and a weight for the loss, in `weights`; both
are lists as long as the messages. Where some messages have a weight, an assistant without one counts as 1, the
others as 0.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from pydantic import JsonValue

from caravan.converters.fields import RowError, absent, as_text, text
from caravan.converters.raw import kind, without
from caravan.converters.roles import role_of
from caravan.converters.schema import Converted, JsonObject, Message, Rejected, Role

Reasoning = Literal["tags", "text"]
WEIGHTS: Final[tuple[str, ...]] = ("weight", "loss_weight", "train")
REASONING: Final[tuple[str, ...]] = ("reasoning_content", "reasoning", "thinking")
CALLS: Final[tuple[str, ...]] = ("tool_calls", "function_call")
_TEXT_PARTS: Final = ("text", "input_text", "output_text", "refusal")
_REASONING_PARTS: Final = ("reasoning", "thinking")
_CALL_PARTS: Final = ("tool_call", "tool_use", "function_call")


class Reading(NamedTuple):
    """How to read a message: extra role names, the keys of role and content, what becomes of reasoning."""

    roles: Mapping[str, str] = {}
    role: str = "role"
    content: str = "content"
    reasoning: Reasoning = "tags"


_PLAIN: Final = Reading()


@dataclass(frozen=True)
class Turn:
    """One message as read: `extra` holds what is not in its text, `raw` is the message as found."""

    role: Role
    content: str
    weight: int | float | None
    extra: JsonObject
    raw: JsonValue


def read_turns(field: str, value: JsonValue, how: Reading) -> list[Turn]:
    """The messages in `value`, found in the row's field `field`. Raises `RowError`."""
    if not isinstance(value, list):
        raise RowError(f"wrong_type:{field}", f"{field} is {kind(value)}, a list of messages was expected")
    raw: list[JsonObject] = []
    for item in value:
        if not isinstance(item, dict):
            raise RowError(f"wrong_type:{field}", f"{field} holds {kind(item)}, a message was expected")
        raw.append(item)
    names = [text(message, how.role) for message in raw]
    roles = [_role(names, i, how) for i in range(len(names))]
    return [_turn(role, message, how) for role, message in zip(roles, raw, strict=True)]


def spoken(role: Role, content: str) -> Turn:
    """A turn whose text stands alone in a field."""
    return Turn(role, content, None, {}, content)


def read_side(field: str, value: JsonValue, role: Role, how: Reading) -> list[Turn]:
    """What one side says: messages, or a text that `role` speaks. Raises `RowError`."""
    return read_turns(field, value, how) if isinstance(value, list) else [spoken(role, as_text(field, value))]


def is_chat(value: JsonValue, how: Reading = _PLAIN) -> bool:
    """Whether this is a list of messages, judged by their keys."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(m, dict) and how.role in m and (how.content in m or "tool_calls" in m) for m in value)
    )


def without_blanks(turns: Sequence[Turn]) -> list[Turn]:
    """The turns without blank system turns; a blank turn of the user or assistant raises `RowError`."""
    turns = [t for t in turns if t.role != "system" or t.content.strip()]
    for turn in turns:
        if turn.role in ("user", "assistant") and not turn.content.strip():
            code = "empty_prompt" if turn.role == "user" else "empty_response"
            raise RowError(code, f"a message of the {turn.role} is empty")
    return turns


def as_messages(turns: Sequence[Turn]) -> list[Message]:
    """The turns' texts."""
    return [{"role": turn.role, "content": turn.content} for turn in turns]


def weights_of(turns: Sequence[Turn]) -> list[JsonValue]:
    """A weight for each turn: its own, else 1 for the assistant and 0 for others."""
    return [int(t.role == "assistant") if t.weight is None else t.weight for t in turns]


def conversation(turns: Sequence[Turn], tags: JsonObject, own_id: str | None) -> Iterator[Converted | Rejected]:
    """The example that the turns make, and what was cut from their end. Raises `RowError`."""
    turns = without_blanks(turns)
    if not turns:
        raise RowError("no_messages", "the conversation is empty")
    answers = [i for i, turn in enumerate(turns) if turn.role == "assistant"]
    if not answers:
        raise RowError("no_assistant_turn", "nobody answers")
    kept, cut = turns[: answers[-1] + 1], turns[answers[-1] + 1 :]
    if not any(turn.role in ("user", "tool") for turn in kept):
        raise RowError("no_user_turn", "the assistant answers nobody")
    tags = dict(tags)
    if any(turn.weight is not None for turn in kept):
        tags["weights"] = weights_of(kept)
    if any(turn.extra for turn in kept):
        tags["message_fields"] = [turn.extra for turn in kept]
    yield Converted(as_messages(kept), own_id=own_id, tags=tags)
    if cut:
        yield Rejected(f"trailing_{cut[0].role}_turn", "nobody answers the end", lost=[turn.raw for turn in cut])


def _role(names: list[str], i: int, how: Reading) -> Role:
    role = role_of(names[i], how.roles)
    if role is not None:
        return role
    if names[i].strip().casefold() == "instruction":
        if i + 1 < len(names) and role_of(names[i + 1], how.roles) == "user":
            raise RowError("ambiguous_role:instruction", "an instruction with a user's message right after it")
        return "user"
    raise RowError(f"unknown_role:{names[i][:40]}", "map it with the option roles, if it speaks for one of the four")


def _turn(role: Role, message: JsonObject, how: Reading) -> Turn:
    extra = without(message, how.role, how.content, *WEIGHTS)
    calls = [call for name in CALLS if name in extra for call in _calls(name, extra[name])]
    if how.content not in message and not calls:
        raise RowError(f"missing_field:{how.content}", "a message without content")
    pieces: list[str] = []
    content = message.get(how.content)
    for name in REASONING:
        thought = extra.get(name)
        if how.reasoning == "text" and isinstance(thought, str) and thought.strip():
            pieces.append(_think(thought))
            del extra[name]
    if isinstance(content, list):
        thoughts: list[JsonValue] = []
        for part in content:
            _part(part, pieces, thoughts, how)
        if thoughts:
            extra["reasoning"] = [extra["reasoning"], *thoughts] if "reasoning" in extra else thoughts
    elif not absent(content):
        pieces.append(as_text(how.content, content))
    joined = "\n\n".join([*(p for p in pieces if p.strip()), *calls])
    return Turn(role, joined or "".join(pieces), _weight(message), extra, message)


def _part(value: JsonValue, pieces: list[str], thoughts: list[JsonValue], how: Reading) -> None:
    """Read one part of a content list into the pieces of text, or into what goes to tags."""
    if isinstance(value, str):
        pieces.append(value)
        return
    if not isinstance(value, dict):
        raise RowError(f"wrong_type:{how.content}", f"a part of the content is {kind(value)}")
    name = text(value, "type")
    inner = next((value[key] for key in ("value", name, "text") if key in value), None)
    if name in _TEXT_PARTS:
        pieces.append(as_text(how.content, inner))
    elif name in _REASONING_PARTS and how.reasoning == "text":
        pieces.append(_think(as_text(how.content, inner)))
    elif name in _REASONING_PARTS:
        thoughts.append(as_text(how.content, inner))
    elif name in _CALL_PARTS:
        pieces.append(inner if isinstance(inner, str) else _call(name, value if inner is None else inner))
    else:
        raise RowError(f"unsupported_part:{name[:40]}", "a part of the content that is no text")


def _think(thought: str) -> str:
    return f"<think>\n{thought}\n</think>"


def _calls(name: str, value: JsonValue) -> list[str]:
    if absent(value):
        return []
    return [_call(name, call) for call in (value if isinstance(value, list) else [value])]


def _call(field: str, value: JsonValue) -> str:
    """One call as text. OpenAI nests it in `function` and gives arguments as a string of JSON."""
    if isinstance(value, str):
        return value
    call = value if isinstance(value, dict) else {}
    function = call.get("function", call)
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise RowError(f"wrong_type:{field}", f"{field} holds something that is no call of a function")
    arguments = function.get("arguments", function.get("input", {}))
    written = arguments if isinstance(arguments, str) and _is_json(arguments) else _json(arguments)
    return f'{{"name": {_json(function["name"])}, "arguments": {written}}}'


def _json(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False)


def _is_json(written: str) -> bool:
    """Whether arguments are JSON, as they should be: then they stand in the text as the model spelled them."""
    try:
        json.loads(written)
    except (ValueError, RecursionError):
        return False
    return True


def _weight(message: JsonObject) -> int | float | None:
    for name in WEIGHTS:
        value = message.get(name)
        if absent(value):
            continue
        if not isinstance(value, bool | int | float) or not 0 <= value <= 1:
            raise RowError(f"wrong_type:{name}", f"{name} is not a number from 0 to 1")
        return int(value) if value in (0, 1) else value
    return None
