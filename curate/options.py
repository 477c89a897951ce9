"""What people type on the command line, turned into what the functions take."""

import tomllib
from collections.abc import Sequence
from typing import Any

from caravan.curate import engine
from caravan.curate.recipe import Recipe, load, validated
from caravan.errors import UserError, did_you_mean
from caravan.plugins import find


def recipe_from(
    name: str | None,
    *,
    strategy: str | None = None,
    weights: str | None = None,
    size: int | None = None,
    unit: str | None = None,
    benchmarks: str | None = None,
    seed: int | None = None,
    keys: Sequence[str] | None = None,
) -> Recipe:
    """A recipe, with the options that were given written over its keys. `UserError` names a wrong one."""
    table: dict[str, Any] = (load(name) if name else Recipe()).model_dump(mode="json")
    if strategy is not None:
        table["strategy"] = {"name": strategy, "options": {}}
    if weights is not None:
        table.setdefault("sources", {})
        for source, share in pairs_from(weights, "--weights").items():
            table["sources"].setdefault(source, {})["share"] = _number(share, f"--weights {source}")
        table["strategy"] = table["strategy"] if strategy is not None else {"name": "tuned", "options": {}}
    for key, value in (("size", size), ("unit", unit), ("seed", seed)):
        if value is not None:
            table[key] = str(value) if key == "unit" else value
    if benchmarks is not None:
        table["filters"].setdefault("contamination", {})["benchmarks"] = benchmarks
    for pair in keys or ():
        _set(table, pair)
    recipe = validated(table, "recipe")
    if recipe.strategy.name not in find("strategies"):
        raise UserError(
            f"no strategy {recipe.strategy.name!r}", fix=did_you_mean(recipe.strategy.name, find("strategies"))
        )
    return recipe


def _set(table: dict[str, Any], pair: str) -> None:
    path, sign, text = pair.partition("=")
    if not sign or not path:
        raise UserError(f"{pair!r} is not KEY=VALUE", where="--set", fix="write filters.quality.minimum=0.4")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text  # a bare word is a string
    at = table
    *parents, last = path.split(".")
    for parent in parents:
        at = at.setdefault(parent, {})
        if not isinstance(at, dict):
            raise UserError(f"{parent!r} holds a value, not keys", where=f"--set {path}", fix="check the key")
    at[last] = value


def pairs_from(text: str, where: str) -> dict[str, str]:
    """`a=1,b=2` as a dictionary."""
    pairs = {}
    for part in text.split(","):
        key, sign, value = part.strip().partition("=")
        if not sign or not key or not value:
            raise UserError(f"{part!r} is not NAME=VALUE", where=where, fix="write a=..,b=..")
        pairs[key.strip()] = value.strip()
    return pairs


def columns_from(text: str | None) -> dict[str, str]:
    """The value of `--columns`."""
    return {} if text is None else pairs_from(text, "--columns")


def names_from(text: str) -> list[str]:
    """Filter names, separated by commas; `UserError` for an unknown one."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in find("filters"):
            raise UserError(f"no filter {name!r}", where="--filters", fix=did_you_mean(name, find("filters")))
    if not names:
        raise UserError("no filter named", where="--filters", fix=f"known: {', '.join(find('filters'))}")
    return names


def default_workers(asked: int | None) -> int:
    """The number of workers: as asked, else every processor."""
    return asked or engine.default_workers()


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{text!r} is not a number", where=where, fix="write a share such as 0.3") from None
