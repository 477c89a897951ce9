"""From a recipe's sources to the files to read, each with its converter."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue

import caravan.converters
from caravan.converters.converter import row_type
from caravan.converters.schema import Preference
from caravan.curate.convert import Task, check_options
from caravan.curate.guess import Guess, guess
from caravan.curate.input import Input
from caravan.curate.read import expand
from caravan.curate.recipe import File, Recipe, Source
from caravan.errors import UserError, did_you_mean
from caravan.plugins import find, load

SAMPLES = Path(caravan.converters.__file__).parent / "samples"
DESCRIBE = "name a converter (NAME:CONVERTER=PATH, --as CONVERTER), or describe the fields (--columns, or `columns`)"
UNRECOGNISED = "unrecognised"  # the source of files that no converter fits: their rows are rejected, and so counted
NAMED = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)(?::(?P<converter>\w+))?=(?P<path>.+)", re.DOTALL)


def with_arguments(recipe: Recipe, arguments: Sequence[str]) -> Recipe:
    """Add `NAME=PATH`, `NAME:CONVERTER=PATH` and `PATH` arguments to a recipe.

    A NAME that the recipe has gets these paths instead of its own. A bare PATH joins the source named as the
    converter that fits each of its files.
    """
    given: dict[str, list[str | File]] = {}
    known = set[str]()
    for argument in arguments:
        named = NAMED.fullmatch(argument)
        if named is None or Path(argument).exists():
            for name, paths in _by_converter(argument).items():
                given.setdefault(name, []).extend(paths)
            continue
        converter = named["converter"]
        if converter is not None:
            _known_converter(converter, argument)
        known.add(named["name"])
        given.setdefault(named["name"], []).append(File(path=named["path"], converter=converter))
    sources = dict(recipe.sources)
    for name, paths in given.items():
        sources[name] = sources.get(name, Source(licence=None if name in known else "")).model_copy(
            update={"paths": paths}
        )
    return recipe.model_copy(update={"sources": sources})


def with_samples(recipe: Recipe) -> tuple[Recipe, dict[str, Input]]:
    """The embedded sample of every source, or of every converter of conversations when the recipe names no source."""
    files = {p.name.split(".")[0]: p for p in sorted(SAMPLES.iterdir()) if not p.name.startswith(".")}
    sources = recipe.sources or {
        name: Source() for name in files if name in find("converters") and not _gives_preferences(name)
    }
    inputs = {}
    for name, source in sources.items():
        sample = files.get(name) or files.get(source.converter or "")
        if sample is None:
            raise UserError(f"no embedded sample for source {name!r}", fix=f"give its files: {name}=PATH")
        inputs[name] = Input(sample, f"sample:{sample.name}")
    return recipe.model_copy(update={"sources": sources}), inputs


def tasks(recipe: Recipe, given: Mapping[str, Input] | None = None) -> tuple[list[Task], dict[str, Guess]]:
    """One task a file, sorted by source and file, and what was guessed, by file name. `UserError` for a wrong path.

    `given` are inputs that no path names: embedded samples, frames from memory.
    """
    given = given or {}
    found: list[Task] = []
    guesses: dict[str, Guess] = {}
    for name, source in sorted(recipe.sources.items()):
        files = [_on_the_hub(_as_file(path), name, source) for path in source.paths]
        inputs = [(one, file) for file in files for one in expand(file.path, f"source {name}")]
        if name in given:
            inputs.append((given[name], File(path=given[name].name)))
        if not inputs:
            raise UserError(f"source {name!r} has no files", fix=f"give them: {name}=PATH")
        seen: set[str] = set()
        for one, file in sorted(inputs, key=lambda pair: pair[0].name):
            place = os.path.realpath(one.path)
            if place in seen:
                continue
            seen.add(place)
            converter, options = _converter(name, source, file, one, guesses)
            checked = check_options(converter, options, f"source {name}")
            # A format that was guessed does not say where the rows come from.
            licence = "" if source.licence is None and one.name in guesses else source.licence
            found.append(Task(name, one, converter, checked, licence))
    if len(found) == 1 and (only := guesses.get(found[0].input.name)) and not only.fits:
        raise UserError(only.match.why, where=found[0].input.name, fix=DESCRIBE)
    return found, guesses


def only_conversations(tasks: Sequence[Task]) -> None:
    """Refuse files whose converter gives preferences: nothing but `curate convert` takes them."""
    for task in tasks:
        if _gives_preferences(task.converter):
            raise UserError(
                f"read as {task.converter}, it holds preferences (chosen and rejected answers), not conversations",
                where=task.input.name,
                fix="write them with `curate convert`, and train on those with `train dpo`",
            )


def one_kind(tasks: Sequence[Task]) -> None:
    """Refuse files of which some give examples and others preferences: they do not go into one table."""
    kinds = {_gives_preferences(task.converter): task for task in tasks}
    if len(kinds) > 1:
        pair, other = kinds[True], kinds[False]
        raise UserError(
            f"holds preferences (read as {pair.converter}), and {other.input.name} does not ({other.converter})",
            where=pair.input.name,
            fix="convert them one at a time, or name one converter for all with --as",
        )


def _gives_preferences(converter: str) -> bool:
    return row_type(load("converters", converter)) is Preference


def _as_file(path: str | File) -> File:
    return File(path=path) if isinstance(path, str) else path


def _on_the_hub(file: File, name: str, source: Source) -> File:
    """`NAME=hub` means the data set that the converter knows its source by."""
    if file.path != "hub":
        return file
    converter = file.converter or source.converter or name
    _known_converter(converter, f"source {name}")
    known = load("converters", converter).HUB
    if known is None:
        raise UserError(
            f"converter {converter} knows no data set on the hub", where=f"source {name}", fix="write hub:OWNER/NAME"
        )
    return file.model_copy(update={"path": f"hub:{known}", "converter": converter})


def _converter(
    name: str, source: Source, file: File, one: Input, guesses: dict[str, Guess]
) -> tuple[str, dict[str, JsonValue]]:
    options: dict[str, JsonValue] = source.options | file.options
    if source.columns and file.converter is None:
        return "columns", options | {"columns": dict(source.columns), "roles": dict(source.roles)}
    if source.roles:
        options |= {"roles": dict(source.roles)}
    asked = file.converter or source.converter
    if asked is not None:
        _known_converter(asked, f"source {name}")
        return asked, options
    if name in find("converters"):
        return name, options
    guessed = guess(one)
    if guessed is None:
        return "messages", options  # nothing in it can be read: any converter will do to say so
    guesses[one.name] = guessed
    return guessed.converter if guessed.fits else "messages", options


def _by_converter(path: str) -> dict[str, list[str | File]]:
    """Files by the converter that fits each, which is their source's name; those that none fits have a source too."""
    found: dict[str, list[str | File]] = {}
    for one in expand(path):
        guessed = guess(one)
        name = guessed.converter if guessed is not None and guessed.fits else UNRECOGNISED
        found.setdefault(name, []).append(File(path=one.name))
    return found


def _known_converter(name: str, where: str) -> None:
    if name not in find("converters"):
        raise UserError(f"no converter {name!r}", where=where, fix=did_you_mean(name, find("converters")))
