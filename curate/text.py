"""Clean text: what every string of a raw row goes through, so that nothing behind the reader meets a surprise.

Lone surrogates become U+FFFD (no file and no Arrow column can hold them), NUL is removed, and what is left is put into
Unicode normal form C, so that equal texts are equal bytes. White space stays as it is. Every change is counted.
"""

from dataclasses import dataclass
from unicodedata import is_normalized, normalize

from pydantic import JsonValue


@dataclass
class TextChanges:
    """How many strings were changed, by kind; `number` counts numbers that JSON cannot hold and that became null."""

    nfc: int = 0
    nul: int = 0
    surrogate: int = 0
    number: int = 0


def clean(value: JsonValue, changes: TextChanges) -> JsonValue:
    """The same JSON value with clean strings, keys too; two keys that become equal: the last wins."""
    if isinstance(value, str):
        return clean_text(value, changes)
    if isinstance(value, dict):
        return {clean_text(key, changes): clean(item, changes) for key, item in value.items()}
    if isinstance(value, list):
        return [clean(item, changes) for item in value]
    return value


def clean_text(text: str, changes: TextChanges) -> str:
    """One clean string."""
    if text.isascii():
        if "\0" not in text:
            return text
    else:
        try:
            text.encode()
        except UnicodeEncodeError:
            changes.surrogate += 1
            # Through UTF-16, so that a pair that was escaped or encoded in two halves becomes its one character.
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if "\0" in text:
        changes.nul += 1
        text = text.replace("\0", "")
    if not is_normalized("NFC", text):
        changes.nfc += 1
        text = normalize("NFC", text)
    return text
