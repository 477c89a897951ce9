"""Instruction, input and answer as one conversation: the rules that alpaca and its relatives share.

White space is the source's own: nothing is stripped, a field of white space alone counts as empty. Instruction and
input are joined by `join_fields` (one blank line) and kept apart in provenance. An input or output counts as a marker
only when the whole field is one, ignoring case, white space and punctuation around it.
"""

import re
from collections.abc import Sequence

from pydantic import JsonValue

from caravan.converters.converter import join_fields
from caravan.converters.fields import RowError, absent, as_text
from caravan.converters.raw import kind
from caravan.converters.schema import Converted, Field, JsonObject, Message

# Spellings that say "there is no input": counted in AlpaGasus, Code Alpaca and LLaMA-Factory files. Four more are
# words that a task can be about ("Empty", "null", "nil", "Na"), so they count only between signs, as in "<empty>".
_NO_INPUT = re.compile(
    r"\W*(no ?input( (required|needed|provided))?|none|n/a|not applicable)\W*|\W+(na|nil|null|empty)\W+", re.IGNORECASE
)
# "None" and "null" are answers, so as a missing output they count only between signs.
_NO_OUTPUT = re.compile(r"\W*(no ?output|no answer|n/a)\W*|\W+(na|none|nil|null|empty)\W+", re.IGNORECASE)


def is_no_input(value: str) -> bool:
    """Whether a whole input field only says that there is none, as in `<noinput>` or `No input required.`"""
    return _NO_INPUT.fullmatch(value.strip()) is not None


def is_no_output(value: str) -> bool:
    """Whether a whole output field only says that there is none, as in `<nooutput>` or `N/A`."""
    return _NO_OUTPUT.fullmatch(value.strip()) is not None


def pair(
    prompt: Sequence[tuple[str, str]],
    answer: tuple[str, str],
    *,
    system: str = "",
    history: Sequence[tuple[str, str]] = (),
    tags: JsonObject,
    own_id: str | None = None,
) -> Converted:
    """A conversation from named prompt parts and a named answer, after a system text and earlier (user, assistant).

    Raises `RowError`: `empty_prompt`, `empty_response`, `no_output_marker`.
    """
    messages: list[Message] = []
    fields: list[Field] = []
    if system.strip():
        content, fields = join_fields(("system", system))
        messages.append({"role": "system", "content": content})
    for user, assistant in history:
        if not user.strip():
            raise RowError("empty_prompt", "an earlier prompt in history is empty")
        if not assistant.strip():
            raise RowError("empty_response", "an earlier answer in history is empty")
        messages += [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
    content, places = join_fields(*prompt, message=len(messages))
    if not content:
        raise RowError("empty_prompt", f"{' and '.join(name for name, _ in prompt)}: nothing but white space")
    messages.append({"role": "user", "content": content})
    fields += places
    name, output = answer
    if not output.strip():
        raise RowError("empty_response", f"{name}: nothing but white space")
    if is_no_output(output):
        raise RowError("no_output_marker", f"{name} only says that there is none")
    fields.append({"name": name, "message": len(messages), "start": 0, "end": len(output)})
    messages.append({"role": "assistant", "content": output})
    return Converted(messages, own_id=own_id, fields=fields, tags=tags)


def real_input(value: str, tags: JsonObject) -> str:
    """The input, or "" when it only says that there is none; the marker then stands in `tags["no_input"]`."""
    if not is_no_input(value):
        return value
    tags["no_input"] = value
    return ""


def earlier(value: JsonValue, name: str = "history") -> list[tuple[str, str]]:
    """LLaMA-Factory's `history`, a list of [user, assistant]; null is an empty one; else `wrong_type:NAME`."""
    if absent(value):
        return []
    if not isinstance(value, list):
        raise RowError(f"wrong_type:{name}", f"{name} is {kind(value)}, a list of pairs was expected")
    pairs: list[tuple[str, str]] = []
    for item in value:
        if not isinstance(item, list) or len(item) != 2:
            raise RowError(f"wrong_type:{name}", f"{name} holds something other than [user, assistant]")
        pairs.append((as_text(name, item[0]), as_text(name, item[1])))
    return pairs
