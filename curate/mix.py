"""Kept rows to a mixture: figures per source, a strategy's shares, whole counts, and the rows that fill them."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import ValidationError

from caravan.curate.recipe import Recipe
from caravan.errors import UserError, did_you_mean
from caravan.mixtures import draw
from caravan.mixtures.allocate import Allocation, allocate
from caravan.mixtures.strategy import SourceFigures
from caravan.plugins import load

UNITS = ("tokens", "supervised_tokens")
Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Drawn:
    """Which rows stand in the mixture, in the mixture's order, and which copy of the row (1, 2, ...) each is."""

    rows: Positions
    copies: Positions
    validation: Positions
    figures: list[SourceFigures]
    shares: dict[str, float]
    allocation: Allocation
    total: int


def mix(rows: pl.DataFrame, kept: pl.Series, groups: Positions, recipe: Recipe) -> Drawn:
    """Draw a mixture from the kept rows.

    `rows` has `id`, `source`, and where measured `quality`, `tokens`, `supervised_tokens`; `groups` labels rows that
    are alike, so that a validation split never holds a look-alike of a training row.
    """
    rows = rows.select(name for name in ("id", "source", "quality", *UNITS) if name in rows.columns)
    positions = np.flatnonzero(kept.to_numpy())
    held = draw.validation_split(
        rows["id"].gather(positions).to_list(), groups[positions], recipe.validation.share, recipe.seed
    )
    by_source = _by_source(rows, positions[~held])
    figures = [
        _figures(rows, by_source.get(name, np.empty(0, np.int64)), name, recipe) for name in sorted(recipe.sources)
    ]
    strategy = load("strategies", recipe.strategy.name)
    options = _options(recipe, strategy.Options)
    if recipe.unit != "examples" and recipe.unit not in rows.columns:
        raise UserError(
            f"a size in {recipe.unit} needs the filter `length`, which counts them", where="unit", fix="add it to `use`"
        )
    shares: dict[str, float] = strategy.shares(figures, options)
    available = {f.name: f.size for f in figures}
    total = recipe.size or sum(available.values())
    allocation = allocate(shares, total, available, recipe.max_repeats)
    taken_rows, taken_copies = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for name, own in by_source.items():
        if not allocation.given.get(name):
            continue
        chosen = rows[own]
        quality = chosen["quality"].to_numpy() if "quality" in chosen.columns else None
        ids = chosen["id"].to_list()
        order = draw.draw_order(ids, recipe.seed, name, quality, ranked=strategy.ranked(options))
        lengths = None if recipe.unit == "examples" else chosen[recipe.unit].to_numpy()
        drawn = draw.take(order, allocation.given[name], lengths)
        taken_rows.append(own[drawn.positions])
        taken_copies.append(drawn.copies)
    all_rows, all_copies = np.concatenate(taken_rows), np.concatenate(taken_copies)
    order = _shuffled(rows["id"].gather(all_rows).to_list(), all_copies.tolist(), recipe.seed)
    return Drawn(all_rows[order], all_copies[order], positions[held], figures, shares, allocation, total)


def _shuffled(ids: list[str], copies: list[int], seed: int) -> Positions:
    """The order of the mixture: by a hash of seed, id and copy, whatever order the rows were drawn in."""

    def place(n: int) -> bytes:
        return blake2b(f"mix\0{seed}\0{ids[n]}\0{copies[n]}".encode(), digest_size=16).digest()

    return np.array(sorted(range(len(ids)), key=place), dtype=np.int64)


def _by_source(rows: pl.DataFrame, positions: Positions) -> dict[str, Positions]:
    frame = pl.DataFrame({"source": rows["source"].gather(positions), "at": positions})
    groups = frame.group_by("source", maintain_order=True).agg("at")
    return {name: np.asarray(at, dtype=np.int64) for name, at in groups.iter_rows()}


def _figures(rows: pl.DataFrame, positions: Positions, name: str, recipe: Recipe) -> SourceFigures:
    chosen = rows[positions]

    def total(column: str) -> int:
        return int(chosen[column].sum()) if column in chosen.columns else 0

    mean = chosen["quality"].mean() if "quality" in chosen.columns else None
    quality = float(mean) if isinstance(mean, float) else None
    weight = recipe.sources[name].share
    return SourceFigures(name, chosen.height, total("tokens"), total("supervised_tokens"), quality, weight, recipe.unit)


def _options(recipe: Recipe, model: type) -> object:
    try:
        return model.model_validate(recipe.strategy.options)  # type: ignore[attr-defined]
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        fix = did_you_mean(name, model.model_fields) if first["type"] == "extra_forbidden" else "correct it"  # type: ignore[attr-defined]
        raise UserError(f"strategy option {name!r}: {first['msg']}", where="[strategy.options]", fix=fix) from None


def shares_given(given: Mapping[str, int]) -> dict[str, float]:
    """Each source's part of the whole."""
    whole = sum(given.values())
    return {name: count / whole if whole else 0.0 for name, count in given.items()}
