"""How good a row's answers are, 0 to 1, from named parts that need no model (`quality_parts.py`).

    quality = complete x (product of all gates) x (weighted mean of the scales)

`quality_complete` is 1 for a dialogue that ends with an answer, .8 for one that ends with a question, less the share
of its answers that are blank, and 0 where no answer has any text. Answers whose weight in `tags["weights"]` is 0 are
not trained on and are not judged.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field, JsonValue

import caravan.curate.filter as contract
from caravan.curate.quality_parts import PARTS, Exchanges, Floats, Texts
from caravan.curate.weights import weights

VERSION = 1
COLUMNS: dict[str, pl.DataType] = {
    "quality": pl.Float64(),
    "quality_complete": pl.Float64(),
    **{f"quality_{name}": pl.Float64() for name in PARTS},
}
TRY: dict[str, tuple[float, ...]] = {"minimum": (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)}
REASONS: tuple[str, ...] = ("empty_response", "refusal", "low_quality")

_UNANSWERED = 0.8
_REFUSED = 0.5  # a gate at or below it is what sank the row


class Settings(contract.Settings):
    """None: the parts look at the text alone."""


class Limits(contract.Limits):
    """`minimum`: the lowest quality that stays. At .15 one clear fault drops a row, or several doubts together."""

    minimum: float = Field(default=0.15, ge=0, le=1)


def fingerprint(settings: Settings) -> dict[str, JsonValue]:  # noqa: ARG001
    """Nothing but the code, and that is `VERSION`."""
    return {}


def measure(batch: pl.DataFrame, settings: Settings) -> pl.DataFrame:  # noqa: ARG001
    """`COLUMNS` for each row, all in 0..1."""
    found = exchanges(batch)
    row = found["row"].to_numpy()
    texts = Exchanges(Texts(found["prompt"]), Texts(found["answer"]), np.diff(row, prepend=-1) == 0)
    blank = (texts.answers.whole == "").to_numpy()
    judged = found["weighs"].to_numpy() & ~blank
    dialogues = _Dialogues(row[judged], batch.height)
    values = {name: dialogues.over(part.of(texts)[judged], part.kind) for name, part in PARTS.items()}
    answers = np.bincount(row, minlength=batch.height)
    answered = 1 - np.bincount(row, blank, batch.height) / np.maximum(answers, 1)
    asks = (batch["messages"].list.last().struct.field("role") != "assistant").fill_null(True).to_numpy()
    complete = np.where(dialogues.answers > 0, answered * np.where(asks, _UNANSWERED, 1.0), 0.0)
    gates, scales = np.ones(batch.height), np.zeros(batch.height)
    for name, part in PARTS.items():
        if part.kind == "gate":
            gates *= values[name]
        scales += values[name] * part.weight
    scales /= sum(part.weight for part in PARTS.values())
    columns = {"quality": complete * gates * scales, "quality_complete": complete}
    return pl.DataFrame(columns | {f"quality_{name}": value for name, value in values.items()}, schema=COLUMNS)


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


def exchanges(batch: pl.DataFrame) -> pl.DataFrame:
    """One line an answer, in order: its `row`, the `prompt` before it, the `answer`, and whether it `weighs`."""
    messages = (
        batch.select(
            "messages",
            row=pl.int_range(pl.len()),
            weights=weights(batch["tags"]),
            at=pl.int_ranges(pl.col("messages").list.len()),
        )
        .filter(pl.col("messages").list.len() > 0)
        .explode("messages", "at")
        .unnest("messages")
    )
    answers = pl.col("role") == "assistant"
    asks = ~pl.col("role").is_in(["assistant", "system"])
    weight = pl.col("weights").list.get(pl.col("at"), null_on_oob=True)
    return (
        messages.with_columns(weighs=weight.ne_missing(0), nth=answers.cum_sum() - answers)
        .group_by("row", "nth", maintain_order=True)
        .agg(
            prompt=pl.col("content").filter(asks).str.join("\n"),
            answer=pl.col("content").filter(answers).first(),
            weighs=pl.col("weighs").last(),
        )
        .filter(pl.col("answer").is_not_null())
    )


class _Dialogues:
    """The judged answers of each row, by the number of the row that each is in."""

    def __init__(self, row: npt.NDArray[np.int64], rows: int) -> None:
        self.row, self.rows = row, rows
        self.answers = np.bincount(row, minlength=rows)

    def over(self, values: Floats, kind: Literal["gate", "scale"]) -> Floats:
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
