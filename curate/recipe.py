"""The recipe: one TOML file, one pydantic model. Every option of `curate build-mix` is a key of it.

strategy = "quality_weighted"
size = 80000
seed = 0

[sources.cot]
paths = ["flan/cot/*.tsv", "alpaca_cot/*.json"]
share = 0.15
[sources.cot.filters.language]
keep = ["*"]

[filters.duplicates]
near = 0.8
"""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

import caravan.mixtures
from caravan.converters.converter import Writer
from caravan.curate.unpack import Unusable, open_file
from caravan.errors import UserError, did_you_mean

# The filters that run unless a recipe says otherwise. The first reason in this order is a row's reason.
FILTERS = ("contamination", "language", "quality", "length", "duplicates")
RECIPES = Path(caravan.mixtures.__file__).parent / "recipes"
MOST_BYTES = 10_000_000  # of a recipe file
Unit = Literal["examples", "tokens", "supervised_tokens"]
Keep = Literal["priority", "human", "quality", "length"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class File(_Strict):
    """One path of a source (file, folder, glob, or `hub:OWNER/NAME`) that asks for a converter of its own."""

    path: str
    converter: str | None = None
    options: dict[str, JsonValue] = {}


class Source(_Strict):
    """A name in the mixture, fed by one or more files, each read by a converter."""

    paths: list[str | File] = []
    converter: str | None = None
    options: dict[str, JsonValue] = {}
    columns: dict[str, str] = {}
    roles: dict[str, str] = {}
    share: float | None = Field(default=None, ge=0, le=1e9)
    licence: str | None = None
    answers_by: Writer | None = None
    filters: dict[str, dict[str, JsonValue]] = {}

    @field_validator("paths", mode="before")
    @classmethod
    def _one_path(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class StrategyChoice(_Strict):
    """A strategy by name, with its options."""

    name: str = "proportional"
    options: dict[str, JsonValue] = {}


class Validation(_Strict):
    """A validation split, taken by duplicate group before any row is repeated."""

    share: float = Field(default=0.0, ge=0, lt=1)


class Recipe(_Strict):
    """Everything that decides what a mixture holds."""

    name: str = ""
    sources: dict[str, Source] = {}
    strategy: StrategyChoice = StrategyChoice()
    size: int | None = Field(default=None, gt=0, le=10**12, strict=True)
    unit: Unit = "examples"
    max_repeats: int = Field(default=4, ge=1, le=1000, strict=True)
    seed: int = Field(default=0, ge=0, strict=True)
    validation: Validation = Validation()
    keep: list[Keep] = ["priority", "human", "quality", "length"]
    priority: list[str] = []
    use: list[str] = list(FILTERS)
    filters: dict[str, dict[str, JsonValue]] = {}

    @field_validator("use")
    @classmethod
    def _once(cls, value: list[str]) -> list[str]:
        if len(set(value)) < len(value):
            raise ValueError("each filter once")
        return value

    @field_validator("strategy", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


def load(name: str) -> Recipe:
    """A recipe from a TOML file, or one of the shipped ones by its name; `UserError` says which key is wrong."""
    path = Path(name)
    if not (path.suffix == ".toml" or path.exists()):
        path = RECIPES / f"{name}.toml"
        if not path.exists():
            raise UserError(f"no recipe {name!r}", fix=did_you_mean(name, shipped()) + ", or name a .toml file")
    try:
        with open_file(path) as file:
            table = tomllib.loads(file.read(MOST_BYTES).decode())
    except Unusable as error:
        raise UserError(str(error), where=name, fix="name a recipe file") from None
    except UnicodeDecodeError:
        raise UserError("is not UTF-8 text", where=name, fix="name a TOML file") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"is not TOML: {str(error)[:200]}", where=name, fix="correct that line") from None
    recipe = validated(table, name)
    if path.parent == RECIPES:
        return recipe
    return _relative_to(path.parent, recipe)


def shipped() -> list[str]:
    """The names of the recipes that come with the package."""
    return sorted(p.stem for p in RECIPES.glob("*.toml"))


def validated(table: dict[str, Any], where: str) -> Recipe:
    """A recipe from a table; `UserError` names the first wrong key, with the nearest known one."""
    try:
        return Recipe.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        at = [str(part) for part in first["loc"] if not isinstance(part, int)]
        if first["type"] == "extra_forbidden":
            fix = did_you_mean(at[-1], _table_of(at).model_fields)
            raise UserError(f"unknown key {'.'.join(at)!r}", where=where, fix=fix) from None
        raise UserError(f"{'.'.join(at)}: {first['msg']}", where=where, fix="correct this key") from None


def _table_of(at: list[str]) -> type[BaseModel]:
    """The model of the table that a key like `sources.x.paths.File.path` stands in."""
    if "File" in at:
        return File
    tables: dict[str, type[BaseModel]] = {"validation": Validation, "strategy": StrategyChoice}
    return Source if len(at) == 3 and at[0] == "sources" else tables.get(at[0], Recipe) if len(at) > 1 else Recipe


def _relative_to(folder: Path, recipe: Recipe) -> Recipe:
    """Paths in a recipe file are relative to that file."""

    def at(path: str) -> str:
        return (
            path
            if path.startswith(("hub:", "/", "~")) or path == "hub" or folder == Path()
            else (folder / path).as_posix()
        )

    sources = {
        name: source.model_copy(
            update={
                "paths": [
                    at(p) if isinstance(p, str) else p.model_copy(update={"path": at(p.path)}) for p in source.paths
                ]
            }
        )
        for name, source in recipe.sources.items()
    }
    filters = {name: dict(table) for name, table in recipe.filters.items()}
    benchmarks = filters.get("contamination", {}).get("benchmarks")
    if isinstance(benchmarks, str) and benchmarks and (folder / benchmarks).exists():
        filters["contamination"]["benchmarks"] = at(benchmarks)
    if "quality" in filters:
        filters["quality"] = _parts_at(filters["quality"], at)
    return recipe.model_copy(update={"sources": sources, "filters": filters})


def _parts_at(quality: dict[str, JsonValue], at: Callable[[str], str]) -> dict[str, JsonValue]:
    """The table of the quality filter, with each model that a part names where it lies."""
    parts = quality.get("parts")
    if not isinstance(parts, dict):
        return quality
    named: dict[str, JsonValue] = {}
    for name, table in parts.items():
        named[name] = table
        if isinstance(table, dict) and isinstance(model := table.get("model"), str) and model:
            named[name] = {**table, "model": at(model)}
    return {**quality, "parts": named}
