"""How good a row's answers are, 0 to 1, from named parts, each a plugin of its own (`curate/quality_part.py`).

    quality = complete x (product of all gates) x (weighted mean of the scales)

`quality_complete` is 1 for a dialogue that ends with an answer, .8 for one that ends with a question, less the share
of its answers that are blank, and 0 where no answer has any text. Answers whose weight in `tags["weights"]` is 0 are
not trained on and are not judged. Parts that need a model are null, and no part of the score, unless
`[filters.quality.parts.NAME]` says what they need.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field, JsonValue, ValidationError, field_validator

import caravan.curate.filter as contract
from caravan.converters.schema import to_json
from caravan.curate.exchanges import Exchanges, Floats, Texts, answers
from caravan.curate.quality_part import Kind, needs_naming
from caravan.errors import UserError, did_you_mean
from caravan.plugins import find, load

VERSION = 2
COLUMNS: dict[str, pl.DataType] = {
    "quality": pl.Float64(),
    "quality_complete": pl.Float64(),
    **{f"quality_{name}": pl.Float64() for name in find("quality_parts")},
}
TRY: dict[str, tuple[float, ...]] = {"minimum": (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)}
REASONS: tuple[str, ...] = ("empty_response", "refusal", "low_quality")

_UNANSWERED = 0.8
_REFUSED = 0.5  # a gate at or below it is what sank the row


class Settings(contract.Settings):
    """`parts`: what the parts need that are measured only if named, by name: a model's folder, a classifier's file."""

    parts: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)

    @field_validator("parts")
    @classmethod
    def _known(cls, value: dict[str, dict[str, JsonValue]]) -> dict[str, dict[str, JsonValue]]:
        named = [name for name in find("quality_parts") if needs_naming(load("quality_parts", name))]
        for name, table in value.items():
            if name not in named:
                raise ValueError(f"no part {name!r} that needs to be named: {did_you_mean(name, named)}")
            if any("\0" in text for text in table.values() if isinstance(text, str)):
                raise ValueError(f"parts.{name}: a NUL character")
            try:
                load("quality_parts", name).Settings.model_validate(table)
            except ValidationError as error:
                first = error.errors()[0]
                raise ValueError(f"parts.{name}.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        return dict(sorted(value.items()))


class Limits(contract.Limits):
    """`minimum`: the lowest quality that stays. At .15 one clear fault drops a row, or several doubts together."""

    minimum: float = Field(default=0.15, ge=0, le=1)


def fingerprint(settings: Settings) -> dict[str, JsonValue]:
    """The version of each part in use, and what a named one depends on; null for parts that are not in use."""
    prints: dict[str, JsonValue] = dict.fromkeys(find("quality_parts"))
    for name, part in _parts(settings).items():
        more = part.fingerprint(part.Settings.model_validate(settings.parts[name])) if name in settings.parts else {}
        prints[name] = {"version": part.VERSION, **more} if more else part.VERSION
    return {"parts": prints}


def measure(batch: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """`COLUMNS` for each row, all in 0..1; null for parts that are not in use."""
    found = answers(batch)
    row = found["row"].to_numpy()
    texts = Exchanges(Texts(found["prompt"]), Texts(found["answer"]), np.diff(row, prepend=-1) == 0)
    blank = (texts.answers.whole == "").to_numpy()
    judged = found["weighs"].to_numpy() & ~blank
    dialogues = _Dialogues(row[judged], batch.height)
    spoken = np.bincount(row, minlength=batch.height)
    answered = 1 - np.bincount(row, blank, batch.height) / np.maximum(spoken, 1)
    asks = (batch["messages"].list.last().struct.field("role") != "assistant").fill_null(True).to_numpy()
    complete = np.where(dialogues.answers > 0, answered * np.where(asks, _UNANSWERED, 1.0), 0.0)
    columns: dict[str, Floats | None] = {"quality": None, "quality_complete": complete}
    gates, scales, weights = np.ones(batch.height), np.zeros(batch.height), 0.0
    for name, part in _parts(settings).items():
        said = _scorer(name, settings)(texts)
        if not np.isfinite(said).all():  # NaN would pass any limit
            where = f"[filters.quality.parts.{name}]" if name in settings.parts else f"quality part {name}"
            raise UserError("gave a value that is no number", where=where, fix="name another model: this one is broken")
        values = dialogues.over(said[judged], part.KIND)
        columns[f"quality_{name}"] = values
        if part.KIND == "gate":
            gates *= values
        else:
            scales += values * part.WEIGHT
            weights += part.WEIGHT
    columns["quality"] = complete * gates * scales / weights
    return pl.DataFrame({name: columns.get(name, [None] * batch.height) for name in COLUMNS}, schema=COLUMNS)


def verdict(limits: Limits) -> pl.Expr:
    """`empty_response` whatever the limit; below `minimum` `refusal` where that is why, else `low_quality`."""
    return (
        pl.when(pl.col("quality_complete") == 0)
        .then(pl.lit("empty_response"))
        .when(pl.col("quality") >= limits.minimum)
        .then(None)
        .when(pl.col("quality_refusal") <= _REFUSED)
        .then(pl.lit("refusal"))
        .otherwise(pl.lit("low_quality"))
    )


def _parts(settings: Settings) -> dict[str, Any]:
    """The parts in use by name: all that need nothing, and those that are named."""
    parts = {name: load("quality_parts", name) for name in find("quality_parts")}
    return {name: part for name, part in parts.items() if not needs_naming(part) or name in settings.parts}


def _scorer(name: str, settings: Settings) -> Callable[[Exchanges], Floats]:
    part = load("quality_parts", name)
    if name not in settings.parts:
        score: Callable[[Exchanges], Floats] = part.score
        return score
    asked = part.Settings.model_validate(settings.parts[name])
    return _loaded(name, asked, to_json(part.fingerprint(asked)))


@lru_cache(maxsize=8)
def _loaded(name: str, settings: contract.Settings, fingerprint: str) -> Callable[[Exchanges], Floats]:  # noqa: ARG001
    """A part's model, loaded once a process; again where its files have changed."""
    scorer: Callable[[Exchanges], Floats] = load("quality_parts", name).scorer(settings)
    return scorer


class _Dialogues:
    """The judged answers of each row, by the number of the row that each is in."""

    def __init__(self, row: npt.NDArray[np.int64], rows: int) -> None:
        self.row, self.rows = row, rows
        self.answers = np.bincount(row, minlength=rows)

    def over(self, values: Floats, kind: Kind) -> Floats:
        """A part's values for answers as values for rows; 0 for a row without any.

        A scale has the mean over the answers. A gate has half their mean and half their least: one spoilt answer
        counts, and does not sink all the others.
        """
        mean = np.bincount(self.row, values, self.rows) / np.maximum(self.answers, 1)
        if kind == "scale":
            return mean
        least = np.where(self.answers > 0, 1.0, 0.0)
        np.minimum.at(least, self.row, values)
        return (mean + least) / 2
