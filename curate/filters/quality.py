"""How good a row's answers are, 0 to 1, from named parts that need no model (`quality_parts.py`).

    quality = complete x (product of all gates) x (weighted mean of the scales)

`quality_complete` is 1 for a dialogue that ends with an answer, .8 for one that ends with a question, less the share
of its answers that are blank, and 0 where no answer has any text. Answers whose weight in `tags["weights"]` is 0 are
not trained on and are not judged.
"""

from collections.abc import Sequence
from math import prod

import polars as pl
from pydantic import Field, JsonValue

import caravan.curate.filter as contract
from caravan.converters.schema import Message
from caravan.curate.quality_parts import PARTS, Exchange, Text
from caravan.curate.weights import weights

VERSION = 1
COLUMNS: dict[str, pl.DataType] = {
    "quality": pl.Float64(),
    "quality_complete": pl.Float64(),
    **{f"quality_{name}": pl.Float64() for name in PARTS},
}
REASONS: tuple[str, ...] = ("empty_response", "refusal", "low_quality")

_UNANSWERED = 0.8
_REFUSED = 0.5  # a gate at or below it is what sank the row

Messages = Sequence[Message]


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
    rows = [
        _row(messages or (), skipped or ())
        for messages, skipped in zip(batch["messages"].to_list(), weights(batch["tags"]).to_list(), strict=True)
    ]
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


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


def exchanges(messages: Messages, weights: Sequence[float | None] = ()) -> list[Exchange]:
    """A dialogue as answers with the prompts before them; blank answers and those that weigh 0 are left out."""
    found: list[Exchange] = []
    asked: list[str] = []
    before: tuple[Text, ...] = ()
    for i, message in enumerate(messages):
        if message["role"] != "assistant":
            if message["role"] != "system":
                asked.append(message["content"])
            continue
        prompt, answer = Text("\n".join(asked)), Text(message["content"])
        weighs = i >= len(weights) or weights[i] != 0
        if answer.whole and weighs:
            found.append(Exchange(prompt, answer, before))
        before, asked = (prompt, answer), []
    return found


def _row(messages: Messages, weights: Sequence[float | None]) -> tuple[float, ...]:
    judged = exchanges(messages, weights)
    if not judged:
        return (0.0, 0.0, *(0.0 for _ in PARTS))
    blank = [not Text(m["content"]).whole for m in messages if m["role"] == "assistant"]
    answered = 1 - sum(blank) / len(blank)
    complete = answered * (1.0 if messages[-1]["role"] == "assistant" else _UNANSWERED)
    values = {name: part.over(judged) for name, part in PARTS.items()}
    gates = prod(values[name] for name, part in PARTS.items() if part.kind == "gate")
    weight = sum(part.weight for part in PARTS.values())
    scales = sum(values[name] * part.weight for name, part in PARTS.items()) / weight
    return (complete * gates * scales, complete, *values.values())
