"""One raw row of ShareGPT's form, or of a form seen in its stead, read into a `Chunk`: nothing is judged here but form.

Also used for recognising such rows. Errors are `RowError` with a stable code.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from pydantic import JsonValue

from caravan.converters.chunks import Chunk, chunk_id
from caravan.converters.fields import RowError, absent, as_object, as_text, records
from caravan.converters.html import to_markdown
from caravan.converters.raw import kind
from caravan.converters.roles import role_of
from caravan.converters.schema import JsonObject, RawRow, Role
from caravan.converters.turns import Place, Turn

OWN_TAGS = {"chunks", "repeated_turns", "part", "speakers", "weights", "turns"}
"""Tags that the converter writes itself: a raw field of such a name goes to `raw_NAME`."""

_LISTS = ("conversations", "conversation")
_IDS = ("id", "conversation_id")
_SYSTEMS = ("system", "system_prompt")
_SPEAKERS = ("from", "role", "user")
_TEXTS = ("value", "content", "text")
_PAIR = ("human", "assistant")


def likeness(row: JsonValue) -> float | None:
    """How much a row looks like ShareGPT's, 0 to 1; None where it has no turns to judge by."""
    if not isinstance(row, dict) or "chosen" in row or not (key := _present(row, _LISTS)):
        return 0.0
    turns = row[key]
    if not isinstance(turns, list):
        return 0.0
    return min((_turn_likeness(turn) for turn in turns), default=None)


def own_id(row: JsonValue) -> str | None:
    """The row's own id as text: a non-empty text or a whole number."""
    value = row.get(_present(row, _IDS) or "") if isinstance(row, dict) else None
    return str(value) if type(value) in (str, int) and value != "" else None


def read(raw: RawRow, roles: Mapping[str, str], html_to_markdown: bool) -> Chunk:
    """Read a row; raises `RowError` for a wrong form, an empty conversation, or a speaker whom nobody knows."""
    row = as_object(raw.value)
    key = _present(row, _LISTS) or _LISTS[0]
    found = records(row, key)
    if not found:
        raise RowError("empty_conversation", "the list of turns is empty")
    turns = list[Turn]()
    for speaker in _speakers(found):
        turns.append(_turn(speaker, Place(raw.row, len(turns)), roles))
    turns = _settle_instructions(turns)
    if html_to_markdown:
        turns = [t._replace(text=to_markdown(t.text)) if t.role == "assistant" else t for t in turns]
    system_key = next((k for k in _SYSTEMS if isinstance(text := row.get(k), str) and text.strip()), None)
    system = None
    if system_key and not (turns[0].role == "system" and turns[0].text == row[system_key]):
        system = Turn("system", str(row[system_key]), "system", (Place(raw.row, -1),))
    name = own_id(row)
    offset = chunk_id(name) if name else None
    used = {key, system_key, _present(row, _IDS) if name else None}
    tags = {f"raw_{k}" if k in OWN_TAGS else k: v for k, v in row.items() if k not in used}
    return Chunk(raw.row, name, offset[1] if offset else None, system, turns, tags)


def _present(value: JsonObject, keys: Sequence[str]) -> str | None:
    """The first of the keys under which there is something."""
    return next((key for key in keys if not absent(value.get(key))), None)


def _turn_likeness(turn: JsonValue) -> float:
    if not isinstance(turn, dict):
        return 0.0
    if "from" in turn and "value" in turn:
        return 0.95
    if all(key in turn for key in _PAIR):
        return 0.9
    return 0.6 if _present(turn, _SPEAKERS) and _present(turn, _TEXTS) else 0.0


def _speakers(found: Sequence[JsonValue]) -> list[JsonObject]:
    """One object a turn: a pair `{"human": ..., "assistant": ...}` is two."""
    turns = list[JsonObject]()
    for value in found:
        if not isinstance(value, dict):
            raise RowError("wrong_type:turn", f"turn {len(turns)} is {kind(value)}, an object was expected")
        if all(key in value for key in _PAIR) and not _present(value, _SPEAKERS):
            rest = {k: v for k, v in value.items() if k not in _PAIR}
            turns += [
                {"from": "human", "value": value["human"]},
                {"from": "assistant", "value": value["assistant"]} | rest,
            ]
        else:
            turns.append(value)
    return turns


def _turn(value: JsonObject, place: Place, roles: Mapping[str, str]) -> Turn:
    speaker, text = _present(value, _SPEAKERS), _present(value, _TEXTS)
    if speaker is None or not isinstance(name := value[speaker], str):
        code = "wrong_type:" if speaker else "missing_field:"
        raise RowError(code + (speaker or _SPEAKERS[0]), f"turn {place.turn} does not say who speaks")
    if text is None:
        raise RowError(f"missing_field:{_TEXTS[0]}", f"turn {place.turn} has no text")
    role: Role | None = role_of(name, roles)
    if role is None and not _is_instruction(name):
        raise RowError(f"unknown_role:{name[:40]}", f"turn {place.turn}; name its role in the option roles")
    weight = value.get("weight")
    weighed = type(weight) in (int, float) and weight in (0, 1)
    used = (speaker, text, "weight") if weighed else (speaker, text)
    extra: JsonObject = {k: v for k, v in value.items() if k not in used and v is not None}
    return Turn(
        role or "user", as_text(text, value[text]), name, (place,), int(weight == 1) if weighed else None, extra
    )


def _is_instruction(name: str) -> bool:
    return name.strip().casefold() == "instruction"


def _settle_instructions(turns: list[Turn]) -> list[Turn]:
    """An `instruction` is what the user asks, unless a user turn follows at once: then nobody can tell."""
    for turn, after in pairwise(turns):
        if _is_instruction(turn.name) and turn.role == "user" and after.role == "user":
            raise RowError(
                "instruction_and_user_turn", f"turn {turn.places[0].turn} is an instruction before a question"
            )
    return turns
