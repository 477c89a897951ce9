"""Run the filters' measures over example shards: each once in a shard's life, in batches, in any process.

A measure is stored as a shard of its own beside the examples, row for row, named by a hash of the example shard, the
filter, its version, its settings and its fingerprint; limits are no part of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import polars as pl
from pydantic import BaseModel, JsonValue, ValidationError

from caravan.cache import cache_folder, key
from caravan.curate.recipe import FILTERS, Recipe
from caravan.curate.shards import read_frame, write_table
from caravan.errors import PluginError, UserError, did_you_mean
from caravan.plugins import load


@dataclass(frozen=True)
class ActiveFilter:
    """A filter as a recipe asks for it: settings, limits, and limits by source where they differ."""

    name: str
    module: ModuleType
    settings: Any
    limits: Any
    overrides: dict[str, Any] = field(default_factory=dict)

    def fingerprint(self) -> dict[str, JsonValue]:
        """What measures depend on beside text and settings."""
        return dict(self.module.fingerprint(self.settings))


@dataclass(frozen=True)
class Task:
    """One example shard and the filters to measure it with: (name, settings as JSON, name of the measure shard)."""

    shard: str
    rows: int
    filters: tuple[tuple[str, str, str], ...]


def active_filters(recipe: Recipe) -> list[ActiveFilter]:
    """The filters that a recipe uses, in the order that decides a row's first reason; `UserError` names a bad key."""
    # A table for a filter that is not among the usual ones is wish enough to run it, unless `use` was written.
    extra = [name for name in recipe.filters if name not in recipe.use] if recipe.use == list(FILTERS) else []
    used = [*recipe.use, *extra]
    for source, asked in recipe.sources.items():
        for name in asked.filters:
            if name not in used:
                raise UserError(
                    f"filter {name!r} is not in use",
                    where=f"[sources.{source}.filters.{name}]",
                    fix=did_you_mean(name, used),
                )
    for name in recipe.priority:
        if name not in recipe.sources:
            raise UserError(f"no source {name!r}", where="priority", fix=did_you_mean(name, recipe.sources))
    return [_active(name, recipe) for name in used]


def _active(name: str, recipe: Recipe) -> ActiveFilter:
    module = load("filters", name)
    table = recipe.filters.get(name, {})
    settings, limits = _split(name, module, table, f"[filters.{name}]")
    overrides = {}
    for source, asked in recipe.sources.items():
        own = asked.filters.get(name)
        if own is not None:
            where = f"[sources.{source}.filters.{name}]"
            for wrong in sorted(set(own) & set(module.Settings.model_fields)):
                raise UserError(
                    f"{wrong!r} is a setting, the same for all sources", where=where, fix=f"move it to [filters.{name}]"
                )
            overrides[source] = _split(name, module, table | own, where)[1]
    return ActiveFilter(name, module, settings, limits, overrides)


def _split(name: str, module: ModuleType, table: dict[str, JsonValue], where: str) -> tuple[BaseModel, BaseModel]:
    settings: type[BaseModel] = module.Settings
    limits: type[BaseModel] = module.Limits
    known = {*settings.model_fields, *limits.model_fields}
    for unknown in sorted(set(table) - known):
        raise UserError(f"filter {name} has no key {unknown!r}", where=where, fix=did_you_mean(unknown, known))
    try:
        return (
            settings.model_validate({k: v for k, v in table.items() if k in settings.model_fields}),
            limits.model_validate({k: v for k, v in table.items() if k in limits.model_fields}),
        )
    except ValidationError as error:
        first = error.errors()[0]
        key_name = ".".join(map(str, first["loc"]))
        raise UserError(f"{key_name or 'this table'}: {first['msg']}", where=where, fix="correct its value") from None


def plan(shards: Mapping[str, int], filters: Sequence[ActiveFilter]) -> tuple[list[Task], dict[str, list[str]]]:
    """What is still to be measured, and where every shard's measures lie (in the order of `filters`)."""
    prints = [f.fingerprint() for f in filters]
    tasks, where = [], {}
    for shard, rows in shards.items():
        names = [
            "measure-" + key(shard, f.name, f.module.VERSION, f.settings.model_dump(mode="json"), p) + ".parquet"
            for f, p in zip(filters, prints, strict=True)
        ]
        where[shard] = names
        missing = tuple(
            (f.name, f.settings.model_dump_json(), name)
            for f, name in zip(filters, names, strict=True)
            if not (cache_folder() / name).exists()
        )
        if missing:
            tasks.append(Task(shard, rows, missing))
    return tasks, where


def measure_shard(task: Task) -> Task:
    """Measure one shard with each of the filters of the task. Runs in a worker process."""
    batch = read_frame(task.shard)
    for name, settings, store in task.filters:
        module = load("filters", name)
        columns = measure(batch, module, module.Settings.model_validate_json(settings))
        write_table(columns.to_arrow(), cache_folder() / store)
    return task


def measure(batch: pl.DataFrame, module: ModuleType, settings: Any) -> pl.DataFrame:
    """One filter's columns for a batch, checked against what it declares."""
    columns: pl.DataFrame = module.measure(batch, settings)
    if dict(columns.schema) != dict(module.COLUMNS) or columns.height != batch.height:
        raise PluginError(
            f"its measure gave {columns.height} rows of {dict(columns.schema)}, not {batch.height} of {module.COLUMNS}",
            where=f"filter {module.__name__}",
            fix="report it to the filter's author",
        )
    return columns


def load_measures(names: Sequence[str]) -> pl.DataFrame:
    """The measures of one shard, side by side."""
    return pl.concat([read_frame(name) for name in names], how="horizontal")
