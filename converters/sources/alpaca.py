"""Alpaca and what shares its keys: GPT4-Alpaca, Code Alpaca, AlpaGasus, GPTeacher, LLaMA-Factory's alpaca files.

    {"instruction": "Name the capital.", "input": "Peru", "output": "Lima"}

Read are also: `response` in place of `output` (GPTeacher; beside it, as in Code Alpaca, `output` counts), a missing
`input`, LLaMA-Factory's `system` and `history` ([user, assistant] pairs that come first), and bilingual files whose
keys carry a language (`en_instruction`, `zh_output`): each language is an example of its own unless the option
`language_prefix` names one. Inputs such as `<noinput>` count as empty, outputs such as `<nooutput>` are refused (see
`caravan.converters.pairs`, which has the rules for white space and joining too).
"""

from collections.abc import Iterator, Sequence

from pydantic import JsonValue

from caravan.converters.converter import NO_MATCH, Match
from caravan.converters.converter import Options as Base
from caravan.converters.fields import RowError, each_row, fits, optional_text, rest, text
from caravan.converters.pairs import earlier, pair, real_input
from caravan.converters.raw import own_id
from caravan.converters.schema import Converted, JsonObject, RawRow, Rejected

VERSION = 1
LICENCE = "CC-BY-NC-4.0"
HUB = "tatsu-lab/alpaca"
ANSWERS_BY = "model"
ANSWERS = ("output", "response")
KNOWN = {"instruction", "input", *ANSWERS, "history", "system", "id"}


class Options(Base):
    """`language_prefix`: of a bilingual file take this language only (`en` takes `en_instruction` and so on)."""

    language_prefix: str | None = None


def matches(sample: Sequence[JsonValue], name: str) -> Match:  # noqa: ARG001 - the keys decide
    """Certain about instruction, input and output alone; less so without input or among foreign keys."""
    if fits(sample, lambda row: any(p + a in row for p in _languages(row) for a in ANSWERS)):
        return Match(0.9, "instruction and output once for each language")
    if not fits(sample, lambda row: "instruction" in row and any(a in row for a in ANSWERS)):
        return NO_MATCH
    why = "instruction and output"
    if not fits(sample, lambda row: "input" in row):
        return Match(0.6 if fits(sample, lambda row: row.keys() <= KNOWN) else 0.4, f"{why}, without input")
    if fits(sample, lambda row: row.keys() <= KNOWN):
        return Match(0.9, "the Alpaca keys: instruction, input and output (or response)")
    return Match(0.75, "the Alpaca keys instruction, input and output, among others")


def group_key(row: RawRow, options: Options) -> str | None:  # noqa: ARG001 - part of the contract
    """Each row stands alone."""
    return None


def convert(group: Sequence[RawRow], options: Options) -> Iterator[Converted | Rejected]:
    """One example a row, or one for each language of a bilingual row."""
    return each_row(group, lambda row: _row(row, options))


def _row(row: JsonObject, options: Options) -> Iterator[Converted | Rejected]:
    languages = _languages(row)
    if options.language_prefix is not None:
        yield _example(row, options.language_prefix.removesuffix("_") + "_", languages)
        return
    if not languages:
        yield _example(row, "", [])
        return
    for language in languages:
        try:
            yield _example(row, language, languages)
        except RowError as error:
            yield error.refusal({k: v for k, v in row.items() if k.startswith(language)})


def _languages(row: JsonObject) -> list[str]:
    """The prefixes of a bilingual row in its own order, with their underscore; none if it has a plain instruction."""
    if "instruction" in row:
        return []
    return [k.removesuffix("instruction") for k in row if k.endswith("_instruction")]


def _example(row: JsonObject, prefix: str, languages: list[str]) -> Converted:
    plain = prefix + ANSWERS[0]
    answer = prefix + ANSWERS[1] if plain not in row and prefix + ANSWERS[1] in row else plain
    asked, given, said = text(row, prefix + "instruction"), optional_text(row, prefix + "input"), text(row, answer)
    texts = [p + n for p in {prefix, *languages} for n in ("instruction", "input", *ANSWERS)]
    other = prefix + ANSWERS[1]
    if answer == plain and row.get(other, said) != said:
        texts.remove(other)  # a second answer that differs is a tag, not lost
    tags = rest(row, *texts, "history", "system")
    if prefix:
        tags["language_prefix"] = prefix.removesuffix("_")
    return pair(
        [(prefix + "instruction", asked), (prefix + "input", real_input(given, tags))],
        (answer, said),
        system=optional_text(row, "system"),
        history=earlier(row.get("history")),
        tags=tags,
        own_id=own_id(row),
    )
