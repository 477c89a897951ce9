"""The row types: `Example`, and `Preference` beside it. Arrow schemas are derived from the models, never written twice.

A converter yields `Converted` or `ConvertedPair` (what it knows from the raw text), or `Rejected`; the caller adds
source, file and id and so makes an `Example` or a `Preference`. Row numbers are 1-based everywhere: the line of a JSON
Lines or tsv file, the record of a JSON list, csv (header not counted) or Parquet file.
"""

import json
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter
from typing_extensions import TypedDict, is_typeddict

Role = Literal["system", "user", "assistant", "tool"]
JsonObject = dict[str, JsonValue]


class Message(TypedDict):
    """One turn of a conversation."""

    role: Role
    content: str


class Field(TypedDict):
    """Where a raw text field ended up: characters `start` to `end` of message number `message` (0-based)."""

    name: str
    message: int
    start: int
    end: int


class RawRow(NamedTuple):
    """One raw row as read: a JSON object, or a list of cells where a tsv file has no header."""

    row: int
    value: JsonValue


class Provenance(BaseModel):
    """Where an example came from. `rows` are all raw rows it cites (a tree's messages, a dialogue's chunks)."""

    model_config = ConfigDict(extra="forbid")

    file: str
    row: int
    rows: list[int]
    own_id: str | None = None
    fields: list[Field] = []


class Example(BaseModel):
    """One conversation.

    `id` is a hash of source and messages, with a running number among identical rows. `tags` holds every raw field
    that is not text of the conversation (in Arrow: JSON with sorted keys).
    """

    model_config = ConfigDict(extra="forbid")

    messages: list[Message]
    id: str
    source: str
    tags: dict[str, JsonValue] = {}
    provenance: Provenance
    licence: str = ""


class Preference(BaseModel):
    """Two answers to one prompt, of which one was preferred: the columns that TRL's DPOTrainer takes as they are.

    `prompt` is the beginning that both dialogues share, system turns included. `chosen` and `rejected` are what
    follows it: usually one message of the assistant, never one of the user. `id` and `tags` are as in `Example`.
    """

    model_config = ConfigDict(extra="forbid")

    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]
    id: str
    source: str
    tags: dict[str, JsonValue] = {}
    provenance: Provenance
    licence: str = ""


@dataclass(slots=True)
class Converted:
    """What a converter makes of a group: one conversation.

    `rows` are the raw rows it cites (None: all rows of the group), `own_id` the row's own id where the raw data has
    one, `fields` where instruction, input and so on lie in the messages, `tags` all raw fields that are not text.
    A message weight (0 or 1) goes to `tags["weights"]`, a list as long as the messages. `licence` only where the
    row itself states one (else the converter's).
    """

    messages: list[Message]
    own_id: str | None = None
    rows: tuple[int, ...] | None = None
    fields: list[Field] = field(default_factory=list)
    tags: JsonObject = field(default_factory=dict)
    licence: str | None = None


@dataclass(slots=True)
class ConvertedPair:
    """What a converter of preferences makes of a group: two dialogues with one beginning.

    The three lists are those of `Preference`, none of them empty; the rest is as in `Converted`. Weights and further
    fields of messages go to `tags` under `weights` and `message_fields`, each {"prompt": [...], "chosen": [...],
    "rejected": [...]}.
    """

    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]
    own_id: str | None = None
    rows: tuple[int, ...] | None = None
    tags: JsonObject = field(default_factory=dict)
    licence: str | None = None


@dataclass(slots=True)
class Rejected:
    """A group, or a part of one, that gives no example.

    `code` is a stable snake_case reason (`empty_response`, `unknown_role:NAME`), `detail` a short sentence for
    people, `rows` the raw rows concerned (None: all of the group), `lost` the part of the raw data that is lost when
    it is not the whole row (a pair of turns).
    """

    code: str
    detail: str = ""
    rows: tuple[int, ...] | None = None
    lost: JsonValue = None


MESSAGES: TypeAdapter[list[Message]] = TypeAdapter(list[Message])


def content_hash(source: str, messages: list[Message], *more: list[Message]) -> str:
    """128 bits in hex over source, roles and contents; the stem of `Example.id`, and of `Preference.id` over its lists.

    Lengths are hashed with the texts, so that no two lists of messages share an encoding; nor do two series of lists.
    """
    h = blake2b(source.encode(), digest_size=16)
    for m in messages:
        _hash(h, m)
    for part in more:
        h.update(b"\0\0")  # no role is empty
        for m in part:
            _hash(h, m)
    return h.hexdigest()


def _hash(h: blake2b, message: Message) -> None:
    data = message["content"].encode()
    h.update(f"\0{message['role']}\0{len(data)}\0".encode())
    h.update(data)


def to_json(value: JsonValue) -> str:
    """Compact JSON with sorted keys: the text form of tags and of raw rows."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


@cache
def arrow_schema(model: type[BaseModel]) -> pa.Schema:
    """The Arrow schema of a pydantic model, one field each, in the model's order."""
    return pa.schema(
        [_arrow_field(name, hint) for name, hint in get_type_hints(model).items() if name in model.model_fields]
    )


def _arrow_field(name: str, hint: Any) -> pa.Field:
    if get_origin(hint) in (UnionType,) or NoneType in get_args(hint):
        (inner,) = [a for a in get_args(hint) if a is not NoneType]
        return pa.field(name, _arrow_type(inner), nullable=True)
    return pa.field(name, _arrow_type(hint), nullable=False)


def _arrow_type(hint: Any) -> pa.DataType:
    simple: dict[Any, pa.DataType] = {
        str: pa.string(),
        int: pa.int64(),
        float: pa.float64(),
        bool: pa.bool_(),
    }
    if hint in simple:
        return simple[hint]
    if get_origin(hint) is Literal:
        return pa.string()
    if get_origin(hint) is list:
        return pa.list_(_arrow_type(get_args(hint)[0]))
    if get_origin(hint) is dict:
        return pa.string()  # free-form JSON: `to_json`
    if is_typeddict(hint):
        return pa.struct([_arrow_field(n, h) for n, h in get_type_hints(hint).items()])
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return pa.struct(list(arrow_schema(hint)))
    raise TypeError(f"no Arrow type for {hint!r}")
