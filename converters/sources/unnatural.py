"""Unnatural Instructions: the core file, the full one with its reformulations, and a flattened form.

    {"instruction": "Name a synonym.", "instances": [{"instruction_with_input": "Name a synonym.\\nglad",
     "input": "glad", "constraints": "One word only.", "output": "happy"}],
     "reformulations": [{"instruction": "...", "instruction_with_input": "Another word for glad?", "input": "glad",
     "output": "happy"}]}
    {"instruction": "Name a synonym.", "input": "glad", "output": "happy", "prompt": "### Instruction: ..."}

The prompt is `instruction_with_input` as it stands, then the constraints on a new line unless they are blank, "none"
or "none.". Each instance and each reformulation is an example (`reformulations = false` leaves the latter out: the
full file then gives what the core file does). In the flattened form instruction and input are joined as everywhere,
and `prompt`, which only dresses them up, is a tag.
"""

from collections.abc import Iterator, Sequence

from pydantic import JsonValue

from caravan.converters.converter import NO_MATCH, Match
from caravan.converters.converter import Options as Base
from caravan.converters.fields import (
    RowError,
    absent,
    as_object,
    each_row,
    fits,
    has_keys,
    optional_text,
    records,
    rest,
    text,
)
from caravan.converters.pairs import pair, real_input
from caravan.converters.raw import own_id
from caravan.converters.schema import Converted, Field, JsonObject, RawRow, Rejected

VERSION = 1
LICENCE = "MIT"
HUB = "mrm8488/unnatural-instructions-core"
ANSWERS_BY = "model"
WITH_INPUT = "instruction_with_input"


class Options(Base):
    """`reformulations`: whether the rewordings in the full file are examples too."""

    reformulations: bool = True


def matches(sample: Sequence[JsonValue], name: str) -> Match:
    """`instruction_with_input` is found nowhere else; the flattened form needs its name."""
    if fits(sample, lambda row: _holds_instances(row.get("instances"))):
        return Match(0.98, f"instances with {WITH_INPUT}")
    if has_keys(sample, "instruction", "input", "output", "prompt"):
        if any(part in name.lower() for part in ("unnatural", "uinst")):
            return Match(0.93, "instruction, input, output and prompt, and the file's name speaks of Unnatural")
        return Match(0.6, "instruction, input, output, and a prompt made of them")
    return NO_MATCH


def group_key(row: RawRow, options: Options) -> str | None:  # noqa: ARG001 - part of the contract
    """Each row stands alone."""
    return None


def convert(group: Sequence[RawRow], options: Options) -> Iterator[Converted | Rejected]:
    """One example for each instance and reformulation."""
    return each_row(group, lambda row: _row(row, options))


def _row(row: JsonObject, options: Options) -> Iterator[Converted | Rejected]:
    if "instances" not in row and "output" in row:
        yield _flat(row)
        return
    kinds = {"instance": records(row, "instances")}
    if options.reformulations and not absent(row.get("reformulations")):
        kinds["reformulation"] = records(row, "reformulations")
    if not any(kinds.values()):
        raise RowError("no_instances", "the list of instances is empty")
    shared = rest(row, "instruction", "instances", "reformulations")
    for kind, values in kinds.items():
        for number, value in enumerate(values):
            try:
                yield _example(as_object(value), row, shared | {kind: number})
            except RowError as error:
                yield error.refusal(value)


def _example(instance: JsonObject, row: JsonObject, tags: JsonObject) -> Converted:
    asked, limits = text(instance, WITH_INPUT), optional_text(instance, "constraints")
    made = pair(
        [(WITH_INPUT, asked)],
        ("output", text(instance, "output")),
        tags=tags | rest(instance, "instruction", WITH_INPUT, "input", "constraints", "output"),
        own_id=own_id(row),
    )
    made.fields += _inside(asked, instance, row)
    if limits.strip().lower() not in ("", "none", "none."):
        start = len(asked) + 1
        made.messages[0]["content"] = f"{asked}\n{limits}"
        made.fields.append({"name": "constraints", "message": 0, "start": start, "end": start + len(limits)})
    elif limits:
        made.tags["constraints"] = limits
    return made


def _inside(asked: str, instance: JsonObject, row: JsonObject) -> list[Field]:
    """Where instruction and input lie inside `instruction_with_input`; one that is not in it word for word is not."""
    places: list[Field] = []
    instruction = instance.get("instruction", row.get("instruction"))
    end = 0
    if isinstance(instruction, str) and instruction and asked.startswith(instruction):
        end = len(instruction)
        places.append({"name": "instruction", "message": 0, "start": 0, "end": end})
    given = instance.get("input")
    start = asked.rfind(given, end) if isinstance(given, str) and given else -1
    if start >= 0 and isinstance(given, str):
        places.append({"name": "input", "message": 0, "start": start, "end": start + len(given)})
    return places


def _flat(row: JsonObject) -> Converted:
    tags = rest(row, "instruction", "input", "output")
    given = real_input(optional_text(row, "input"), tags)
    return pair(
        [("instruction", text(row, "instruction")), ("input", given)],
        ("output", text(row, "output")),
        tags=tags,
        own_id=own_id(row),
    )


def _holds_instances(value: JsonValue) -> bool:
    try:
        return WITH_INPUT in as_object(records({"instances": value}, "instances")[0])
    except (RowError, IndexError):
        return False
