"""Self-Instruct: generations, the seed tasks and the user-oriented tasks, and the form that GPT-3 was tuned on.

    {"id": "seed_task_3", "name": "rhyme", "instruction": "Find a rhyme.", "is_classification": false,
     "instances": [{"input": "moon", "output": "spoon"}]}
    {"id": "user_oriented_task_3", "motivation_app": "Maps", "instruction": "...", "instances": [...]}
    {"instruction": "Find a rhyme.", "input": "moon", "output": "spoon"}
    {"prompt": "Find a rhyme.\\n\\nInput: moon\\n\\nOutput:", "completion": " spoon<|endoftext|>"}

A nested row gives one example for each instance, numbered in `tags["instance"]` where there are several. In the last
form the marks of that API go: `<|endoftext|>` and the one space that opens a completion, and the line `Output:` that
closes a prompt. The rules of `caravan.converters.pairs` hold for the others, the no-input markers among them.
"""

import re
from collections.abc import Iterator, Sequence

from pydantic import JsonValue

from caravan.converters.converter import NO_MATCH, Match, Options
from caravan.converters.fields import RowError, as_object, each_row, fits, optional_text, records, rest, text
from caravan.converters.pairs import pair, real_input
from caravan.converters.raw import own_id
from caravan.converters.schema import Converted, JsonObject, RawRow, Rejected

__all__ = ["HUB", "LICENCE", "VERSION", "Options", "convert", "group_key", "matches"]

VERSION = 1
LICENCE = "Apache-2.0"
HUB = "yizhongw/self_instruct"
END = "<|endoftext|>"
_CUE = re.compile(r"\s*\n[ \t]*Output:\s*\Z")
_NAME = re.compile(r"self.?instruct|all_instances_82k|gpt3_finetuning|machine_generated", re.IGNORECASE)


def matches(sample: Sequence[JsonValue], name: str) -> Match:
    """Nested instances are distinctive; the flat forms need the file's name or GPT-3's closing `Output:`."""
    if fits(sample, lambda row: "instruction" in row and _is_instances(row.get("instances"))):
        return Match(0.95, "an instruction with nested instances of input and output")
    named = _NAME.search(name) is not None
    if fits(sample, lambda row: isinstance(row.get("prompt"), str) and isinstance(row.get("completion"), str)):
        if fits(sample, lambda row: _CUE.search(str(row["prompt"])) is not None):
            return Match(0.97, 'prompts that end in "Output:", with completions')
        if named:
            return Match(0.93, "prompt and completion, and the file's name speaks of Self-Instruct")
        return Match(0.35, "prompt and completion")
    if named and fits(sample, lambda row: {"instruction", "input", "output"} <= row.keys()):
        return Match(0.93, "instruction, input and output, and the file's name speaks of Self-Instruct")
    return NO_MATCH


def group_key(row: RawRow, options: Options) -> str | None:  # noqa: ARG001 - part of the contract
    """Each row stands alone."""
    return None


def convert(group: Sequence[RawRow], options: Options) -> Iterator[Converted | Rejected]:  # noqa: ARG001
    """One example for each instance of a nested row, else one a row."""
    return each_row(group, _row)


def _row(row: JsonObject) -> Iterator[Converted | Rejected]:
    if "instances" in row:
        yield from _instances(row)
    elif "instruction" not in row and "prompt" in row:
        yield _completion(row)
    else:
        yield _example(text(row, "instruction"), row, rest(row, "instruction", "input", "output"), own_id(row))


def _instances(row: JsonObject) -> Iterator[Converted | Rejected]:
    instruction, instances = text(row, "instruction"), records(row, "instances")
    if not instances:
        raise RowError("no_instances", "the list of instances is empty")
    for number, value in enumerate(instances):
        try:
            instance = as_object(value)
            tags = rest(row, "instruction", "instances") | rest(instance, "input", "output")
            if len(instances) > 1:
                tags["instance"] = number
            yield _example(instruction, instance, tags, own_id(row))
        except RowError as error:
            yield error.refusal(value)


def _example(instruction: str, source: JsonObject, tags: JsonObject, name: str | None) -> Converted:
    given = real_input(optional_text(source, "input"), tags)
    return pair(
        [("instruction", instruction), ("input", given)], ("output", text(source, "output")), tags=tags, own_id=name
    )


def _completion(row: JsonObject) -> Converted:
    completion = text(row, "completion")
    if completion.rstrip().endswith(END):
        completion = completion.rstrip().removesuffix(END)
    return pair(
        [("prompt", _CUE.sub("", text(row, "prompt")))],
        ("completion", completion.removeprefix(" ")),
        tags=rest(row, "prompt", "completion"),
        own_id=own_id(row),
    )


def _is_instances(value: JsonValue) -> bool:
    try:
        first = as_object(records({"instances": value}, "instances")[0])
    except (RowError, IndexError):
        return False
    return "output" in first and "instruction_with_input" not in first
