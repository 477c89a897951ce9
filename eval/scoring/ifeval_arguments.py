"""The arguments (`kwargs`) of IFEval's instructions: what each kind may be."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from caravan.errors import UserError, did_you_mean

Kind = Literal["count", "place", "text", "texts", "letter", "relation", "language"]
RELATIONS = ("less than", "at least")


def checked(instruction: str, arguments: Mapping[str, Any], needs: Mapping[str, Kind], where: str) -> dict[str, Any]:
    """The arguments that an instruction needs; null counts as absent. `UserError` for one that is missing or wrong."""
    given = {name: value for name, value in arguments.items() if value is not None}
    for name in given:
        if name not in needs:
            raise UserError(f"{instruction} has no argument {name!r}", where=where, fix=did_you_mean(name, needs))
    return {name: _argument(given.get(name), f"{name!r} of {instruction}", kind, where) for name, kind in needs.items()}


def _argument(value: Any, name: str, kind: Kind, where: str) -> Any:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # some writers of tables make all numbers floats
    whole = isinstance(value, int) and not isinstance(value, bool)
    told = isinstance(value, str) and bool(value.strip())
    right, expected = {
        "count": (whole and value >= 0, "a number from 0"),
        "place": (whole and value >= 1, "a number from 1"),
        "text": (told, "a text"),
        "texts": (_texts(value), "a list of texts"),
        "letter": (told and len(value.strip()) == 1, "one letter"),
        "relation": (value in RELATIONS if told else False, " or ".join(map(repr, RELATIONS))),
        "language": (told and _languages(value), "a language that langdetect tells, as in 'en'"),
    }[kind]
    if not right:
        raise UserError(f"{name} is {value!r}, not {expected}", where=where, fix="correct kwargs")
    return tuple(value) if kind == "texts" else value


def _texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(x, str) and x.strip() for x in value)


def _languages(code: str) -> bool:
    """Whether langdetect has a profile of the language; "zh" stands for all of "zh-cn" and "zh-tw"."""
    return any(code in (name, name.partition("-")[0]) for name in _profiles())


@cache
def _profiles() -> list[str]:
    from langdetect import PROFILES_DIRECTORY

    return sorted(path.name for path in Path(PROFILES_DIRECTORY).iterdir())
