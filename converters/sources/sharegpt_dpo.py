"""ShareGPT's form with two answers, as LLaMA-Factory and MedicalGPT publish preferences.

    {"conversations": [{"from": "human", "value": "Hi"}], "chosen": {"from": "gpt", "value": "Hello!"},
     "rejected": {"from": "gpt", "value": "What?"}}
    {"system": "...", "conversations": [...], "tools": "[...]", "chosen": "Hello!", "rejected": "What?"}

An answer is one turn, a list of turns, or a text. All turns keep their order; names of speakers:
`caravan.converters.roles`, further ones by the option `roles`, an unknown one refuses the row (`unknown_role:NAME`). A
`system` text comes first where no turn says such a thing. Which rows are refused: `caravan.converters.preferences`.
All other fields (`tools`, scores) are tags.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from pydantic import Field as Setting
from pydantic import JsonValue

from caravan.converters.chat import Reading, is_chat, read_turns, spoken
from caravan.converters.converter import NO_MATCH, Match
from caravan.converters.converter import Options as Base
from caravan.converters.fields import RowError, each_row, fits, licence, optional_text, row_tags
from caravan.converters.preferences import dialogue, preference, read_answer
from caravan.converters.raw import own_id
from caravan.converters.roles import RoleMap
from caravan.converters.schema import ConvertedPair, JsonObject, Preference, RawRow, Rejected

VERSION = 1
LICENCE = ""
HUB = None
GIVES = Preference

_TURNS: Final = Reading(role="from", content="value")
_FIELDS: Final = ("conversations", "chosen", "rejected")


class Options(Base):
    """`roles`: further names of speakers."""

    roles: RoleMap = Setting(default_factory=dict)


def matches(sample: Sequence[JsonValue], name: str) -> Match:  # noqa: ARG001 - the keys decide
    """Certain about turns of from and value beside chosen and rejected."""
    if fits(sample, _fits):
        return Match(0.98, "conversations of from and value, with chosen and rejected")
    return NO_MATCH


def group_key(row: RawRow, options: Options) -> str | None:  # noqa: ARG001 - part of the contract
    """Each row stands alone."""
    return None


def convert(group: Sequence[RawRow], options: Options) -> Iterator[ConvertedPair | Rejected]:
    """One preference a row."""
    return each_row(group, lambda row: _row(row, options))


def _row(row: JsonObject, options: Options) -> Iterator[ConvertedPair | Rejected]:
    how = _TURNS._replace(roles=options.roles)
    for name in _FIELDS:
        if name not in row:
            raise RowError(f"missing_field:{name}", f"the row has no field {name}")
    prompt = read_turns("conversations", row["conversations"], how)
    system, used = optional_text(row, "system"), list(_FIELDS)
    if system.strip() and not any(turn.role == "system" for turn in prompt):
        prompt.insert(0, spoken("system", system))
        used.append("system")
    chosen, rejected = (dialogue(prompt, read_answer(name, row[name], how)) for name in _FIELDS[1:])
    made = preference(chosen, rejected, row_tags(row, used), own_id(row))
    made.licence = licence(row)
    yield made


def _fits(row: JsonObject) -> bool:
    return is_chat(row.get("conversations"), _TURNS) and all(row.get(name) is not None for name in _FIELDS[1:])
