"""The FLAN family, told apart by the shape of each row.

- FLAN V2 JSON Lines: {inputs, targets, task_source, task_name, template_type} (on the hub: inputs, targets, task).
  Both texts as they are.
- FLAN CoT tsv: question TAB answer TAB rationale, without a header: a row is a list of three cells. The files write
  a newline inside a cell as backslash-n. In each cell, backslash-n becomes a newline, unless it is the head of a TeX
  command (`\\neq`). The response is the rationale, a newline, and "So the answer is ANSWER."
- Super-NaturalInstructions task files: see `caravan.converters.super_ni`.
- T0/P3: {prompt, completion}. `<|endoftext|>` at the end of a completion goes, and so does the one newline at the end
  of a prompt that kept the two apart.

A text that is blank after that is refused (`empty_prompt`, `empty_response`).
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from pydantic import Field as Setting
from pydantic import JsonValue

from caravan.converters.converter import NO_MATCH, Match, message
from caravan.converters.converter import Options as Base
from caravan.converters.fields import RowError, as_object, as_text, rest, text
from caravan.converters.raw import own_id, wrong_text
from caravan.converters.schema import Converted, Field, JsonObject, RawRow, Rejected
from caravan.converters.super_ni import References, convert_task

VERSION = 1
LICENCE = "Apache-2.0"
HUB = "Muennighoff/flan"
ANSWERS_BY = "people"
END: Final = "<|endoftext|>"
NEWLINE: Final = re.compile(r"\\n(?!(?:abla|eq|eg|otin|mid|u|leq|geq)(?![A-Za-z]))")  # rests that are no English word


class Options(Base):
    """For Super-NaturalInstructions: positive examples in the prompt, and which of several right answers to take."""

    shots: int = Setting(default=0, ge=0, le=64)
    references: References = "first"


def matches(sample: Sequence[JsonValue], name: str) -> Match:  # noqa: ARG001 - the rows say it all
    """The mean over the rows of what each row's shape says."""
    judged = [_judge(row) for row in sample]
    if not any(m.confidence for m in judged):
        return NO_MATCH
    best = max(judged, key=lambda m: m.confidence)
    return Match(round(sum(m.confidence for m in judged) / len(judged), 3), best.why)


def group_key(row: RawRow, options: Options) -> str | None:  # noqa: ARG001 - part of the contract
    """Each row stands alone."""
    return None


def convert(group: Sequence[RawRow], options: Options) -> Iterator[Converted | Rejected]:
    """One example a row; a Super-NaturalInstructions task gives one for each instance."""
    for row, value in group:
        try:
            for made in _convert(value, options):
                made.rows = (row,)
                yield made
        except RowError as error:
            yield Rejected(error.code, error.detail, (row,))


def _convert(value: JsonValue, options: Options) -> Iterator[Converted | Rejected]:
    if isinstance(value, list):
        yield _chain_of_thought(value)
        return
    fields = as_object(value)
    if "Instances" in fields or "Definition" in fields:
        yield from convert_task(fields, options.shots, options.references)
    elif "inputs" not in fields and ("prompt" in fields or "completion" in fields):
        prompt, response = text(fields, "prompt").removesuffix("\n"), text(fields, "completion").removesuffix(END)
        yield _pair(fields, ("prompt", prompt), ("completion", response))
    else:
        yield _pair(fields, ("inputs", text(fields, "inputs")), ("targets", text(fields, "targets")))


def _judge(row: JsonValue) -> Match:
    if isinstance(row, list):
        fits = len(row) == 3 and all(isinstance(cell, str) for cell in row)
        return Match(0.8, "three cells without a header, as in FLAN CoT") if fits else NO_MATCH
    if not isinstance(row, dict):
        return NO_MATCH
    if "Instances" in row and "Definition" in row:
        return Match(0.98, "a Super-NaturalInstructions task (Definition, Instances)")
    if wrong_text(row, "inputs", "targets") is None:
        named = any("task" in key or "template" in key for key in row)
        return Match(0.97 if named else 0.85, "fields inputs and targets, as in FLAN V2")
    if wrong_text(row, "prompt", "completion") is None:
        ended = str(row["completion"]).endswith(END)
        return Match(0.95 if ended else 0.7, f"fields prompt and completion{f' that ends in {END}' * ended}, as in P3")
    return NO_MATCH


def _pair(row: JsonObject, prompt: tuple[str, str], response: tuple[str, str]) -> Converted:
    fields = [_field(prompt[0], 0, prompt[1]), _field(response[0], 1, response[1])]
    return _converted(prompt[1], response[1], fields, rest(row, prompt[0], response[0]), own_id(row))


def _chain_of_thought(cells: list[JsonValue]) -> Converted:
    if len(cells) != 3:
        raise RowError("wrong_cells", f"three cells are expected (question, answer, rationale), found {len(cells)}")
    question, answer, rationale = (NEWLINE.sub("\n", as_text("cell", cell)) for cell in cells)
    if not answer.strip():
        raise RowError("empty_response", "the cell of the answer is blank")
    fields, before = [_field("question", 0, question)], "So the answer is "
    if rationale.strip():
        fields.append(_field("rationale", 1, rationale))
        before = f"{rationale}\n{before}"
    fields.append(_field("answer", 1, answer, len(before)))
    end = "" if answer.rstrip().endswith((".", "!", "?")) else "."
    return _converted(question, before + answer + end, fields)


def _converted(
    prompt: str, response: str, fields: list[Field], tags: JsonObject | None = None, name: str | None = None
) -> Converted:
    if not prompt.strip():
        raise RowError("empty_prompt", "there is nothing to answer")
    if not response.strip():
        raise RowError("empty_response", "there is no answer")
    messages = [message("user", prompt), message("assistant", response)]
    return Converted(messages, own_id=name, fields=fields, tags=tags or {})


def _field(name: str, number: int, value: str, start: int = 0) -> Field:
    return {"name": name, "message": number, "start": start, "end": start + len(value)}
