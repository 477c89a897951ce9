"""Super-NaturalInstructions: one task file is one raw row, and holds thousands of instances.

    {"Definition": ["..."], "Positive Examples": [{"input", "output", "explanation"}], "Instances":
     [{"id": "task096-...", "input": "...", "output": ["...", ...]}], "Categories": [...], "Input_language": [...]}

Early files have the definition as a plain text, instances without an id, and none of the language and licence fields.

The prompt without shots is the definition and the input, joined by a blank line (`join_fields`). With shots it is

    DEFINITION / blank line / Input: FIRST / Output: ANSWER / blank line / ... / Input: THIS / Output:

where shots are the task's positive examples in their order. One that has the instance's own input is passed over: it
would give the answer away. A definition that comes in several wordings counts with its first one.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final, Literal, NamedTuple

from pydantic import JsonValue

from caravan.converters.converter import join_fields, message
from caravan.converters.fields import RowError, as_object, as_text, records, rest, text
from caravan.converters.raw import own_id, without
from caravan.converters.schema import Converted, Field, JsonObject, Rejected

References = Literal["first", "all"]
TEXTS: Final = ("Definition", "Positive Examples", "Negative Examples", "Instances")  # the rest of a task is its tags


class Pair(NamedTuple):
    """An input and the answers to it; none of them is blank."""

    text: str
    answers: list[str]


def convert_task(task: JsonObject, shots: int, references: References) -> Iterator[Converted | Rejected]:
    """All instances of one task, and a refusal with `lost` for each that gives no example.

    `references` says whether an instance with several right answers gives one example (with the first that is not
    blank) or one for each that is not blank. Raises `RowError` for a task without a definition or instances.
    """
    definition, instances = _definition(task), records(task, "Instances")
    if not instances:
        raise RowError("no_instances", "the task has no instances")
    tags, licence, examples = without(task, *TEXTS), _licence(task), _positive_examples(task)
    for number, instance in enumerate(instances, 1):
        try:
            pair = _pair(instance)
            prompt, fields, used = _prompt(definition, pair.text, examples, shots)
        except RowError as error:
            yield error.refusal(instance)
            continue
        own = tags | rest(as_object(instance), "input", "output") | {"instance": number}
        own |= {"references": len(pair.answers)} | ({"shots": used} if shots else {})
        name = own_id(as_object(instance))
        if name is not None and "-" in name:
            own["task"] = name.split("-", 1)[0]
        for which, answer in enumerate(pair.answers[: 1 if references == "first" else None], 1):
            yield Converted(
                [message("user", prompt), message("assistant", answer)],
                own_id=name,
                fields=[*fields, {"name": "output", "message": 1, "start": 0, "end": len(answer)}],
                tags=own | ({"reference": which} if references == "all" else {}),
                licence=licence,
            )


def _definition(task: JsonObject) -> str:
    value = task.get("Definition")
    return as_text("Definition", value[0]) if isinstance(value, list) and value else text(task, "Definition")


def _pair(instance: JsonValue) -> Pair:
    """The input and answers of an instance or positive example; raises `RowError` for what is wrong with it."""
    row = as_object(instance)
    question = text(row, "input")
    output = row.get("output")
    answers = [as_text("output", a) for a in output] if isinstance(output, list) else [text(row, "output")]
    full = [answer for answer in answers if answer.strip()]
    if not full:
        raise RowError("empty_response", "no output that is not blank")
    return Pair(question, full)


def _positive_examples(task: JsonObject) -> list[Pair]:
    value = task.get("Positive Examples")
    pairs: list[Pair] = []
    for example in value if isinstance(value, list) else []:
        with suppress(RowError):  # an example that cannot be shown: the task's instances do not need it
            pairs.append(_pair(example))
    return pairs


def _prompt(definition: str, question: str, examples: Sequence[Pair], shots: int) -> tuple[str, list[Field], int]:
    """The prompt, where definition and input lie in it, and how many shots it holds; raises `RowError`."""
    content, fields = join_fields(("Definition", definition), ("input", question))
    if not content:
        raise RowError("empty_prompt", "no definition and no input")
    used = [e for e in examples if e.text.strip() != question.strip()][:shots]
    if not used:
        return content, fields, 0
    before, after = "Input: ", "\nOutput:"
    parts = [("Positive Examples", f"{before}{e.text}{after} {e.answers[0]}") for e in used]
    content, fields = join_fields(("Definition", definition), *parts, ("input", before + question + after))
    fields[-1]["start"] += len(before)
    fields[-1]["end"] -= len(after)
    return content, fields, len(used)


def _licence(task: JsonObject) -> str | None:
    """The licences that the task states, or None where it states none or says "Unknown"."""
    value = task.get("Instance License")
    names = [v.strip() for v in value if isinstance(v, str) and v.strip()] if isinstance(value, list) else []
    return "; ".join(names) if names and not any(n.casefold() == "unknown" for n in names) else None
