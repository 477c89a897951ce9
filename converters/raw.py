"""Raw fields: present and of the right type, or the code of what is wrong with them."""

from pydantic import JsonValue

from caravan.converters.schema import JsonObject

NAMES = {dict: "object", list: "list", str: "text", bool: "boolean", int: "number", float: "number", type(None): "null"}


def wrong_text(row: JsonObject, *names: str) -> str | None:
    """The code for the first of `names` that is not a text in `row`, or None when all are."""
    for name in names:
        if name not in row:
            return f"missing_field:{name}"
        if not isinstance(row[name], str):
            return f"wrong_type:{name}"
    return None


def kind(value: JsonValue) -> str:
    """The JSON name of a value's type, for people."""
    return NAMES[type(value)]


def without(row: JsonObject, *names: str) -> JsonObject:
    """A row's tags: all its fields but those named."""
    return {key: value for key, value in row.items() if key not in names}


def own_id(row: JsonObject, name: str = "id") -> str | None:
    """A row's own id as text, or None where it has none."""
    value = row.get(name)
    return str(value) if type(value) in (str, int) else None
