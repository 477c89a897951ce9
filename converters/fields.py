"""The fields of one raw row: what is missing or of the wrong type becomes a refusal with a stable code.

One rule for text, shared by all converters of single rows: a string is taken as it stands; a number or a boolean is
a label that lost its quotes, and becomes the text that JSON spells (`5`, `0.5`, `true`); null, NaN, a list and an
object are no text (`wrong_type:NAME`). Where a field may be left out, null and NaN mean that it was.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from pydantic import JsonValue

from caravan.converters.raw import kind, own_id, without
from caravan.converters.schema import Converted, ConvertedPair, JsonObject, RawRow, Rejected

LICENCES: Final[tuple[str, ...]] = ("licence", "license")
Made = TypeVar("Made", bound=Converted | ConvertedPair | Rejected)


class RowError(Exception):
    """Why a row, or a part of one, gives no example. Never leaves a converter: `each_row` turns it into `Rejected`."""

    def __init__(self, code: str, detail: str = "") -> None:
        self.code, self.detail = code, detail
        super().__init__(code)

    def refusal(self, lost: JsonValue = None) -> Rejected:
        """The `Rejected` for it; `lost` is the part concerned when it is not the whole row."""
        return Rejected(self.code, self.detail, lost=lost)


def each_row(group: Sequence[RawRow], convert: Callable[[JsonObject], Iterator[Made]]) -> Iterator[Made | Rejected]:
    """Convert rows that stand alone: each result cites its own row, a `RowError` refuses what is left of the row."""
    for raw in group:
        try:
            for made in convert(as_object(raw.value)):
                made.rows = (raw.row,)
                yield made
        except RowError as error:
            yield Rejected(error.code, error.detail, (raw.row,))


def as_object(value: JsonValue) -> JsonObject:
    """The row as an object, else `not_an_object`."""
    if not isinstance(value, dict):
        raise RowError("not_an_object", f"the row is {kind(value)}")
    return value


def as_text(name: str, value: JsonValue) -> str:
    """The text of a value by the rule above, else `wrong_type:NAME`."""
    if isinstance(value, str):
        return value
    if absent(value) or not isinstance(value, int | float):
        raise RowError(f"wrong_type:{name}", f"{name} is {kind(value)}, text was expected")
    return json.dumps(value)


def text(row: JsonObject, name: str) -> str:
    """A field that must be there, else `missing_field:NAME`."""
    if name not in row:
        raise RowError(f"missing_field:{name}", f"the row has no field {name}")
    return as_text(name, row[name])


def optional_text(row: JsonObject, name: str) -> str:
    """A field that may be left out: "" when it is missing, null or NaN."""
    value = row.get(name)
    return "" if absent(value) else as_text(name, value)


def absent(value: JsonValue) -> bool:
    """Null, or NaN, as which tables that went through pandas write it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def records(row: JsonObject, name: str) -> list[JsonValue]:
    """A field that is a list of records; `datasets` may hand it over as an object of parallel lists."""
    value = row.get(name)
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        lists = [v for v in value.values() if isinstance(v, list)]
        if lists and len(lists) == len(value) and len({len(v) for v in lists}) == 1:
            return [dict(zip(value, cells, strict=True)) for cells in zip(*lists, strict=True)]
    if name not in row:
        raise RowError(f"missing_field:{name}", f"the row has no field {name}")
    raise RowError(f"wrong_type:{name}", f"{name} is {kind(value)}, a list was expected")


def rest(row: JsonObject, *used: str) -> JsonObject:
    """The fields that were not used as text: they become tags. A usable `id` is provenance, not a tag."""
    return without(row, *used, *(() if own_id(row) is None else ("id",)))


def licence(row: JsonObject) -> str | None:
    """The licence that the row itself states."""
    return next((value for name in LICENCES if isinstance(value := row.get(name), str)), None)


def row_tags(row: JsonObject, used: Sequence[str]) -> JsonObject:
    """What is no text, as `rest`. Our own files keep a row's tags as JSON in one field: they stay its tags."""
    found = rest(row, *used, *LICENCES)
    held = found.get("tags")
    if isinstance(held, str) and held.startswith("{"):
        try:
            held = json.loads(held)
        except ValueError:
            return found
    if isinstance(held, dict):
        del found["tags"]
        return held | found
    return found


def has_keys(sample: Sequence[JsonValue], *names: str) -> bool:
    """Whether at least four in five rows are objects with all these keys: a guess survives a broken row."""
    return fits(sample, lambda row: all(n in row for n in names))


def fits(sample: Sequence[JsonValue], test: Callable[[JsonObject], bool]) -> bool:
    """Whether at least four in five rows are objects that pass the test."""
    hits = sum(isinstance(row, dict) and test(row) for row in sample)
    return bool(sample) and hits >= 0.8 * len(sample)
