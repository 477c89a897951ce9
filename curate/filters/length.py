"""How long a row is: tokens, supervised tokens, turns.

`tokens` counts the texts of all messages, without what a chat template adds. `supervised_tokens` counts what the
loss is taken on: assistant messages, less those to which `tags["weights"]` gives 0. `turns` counts the messages,
system texts left out.
"""

import polars as pl
from pydantic import Field, JsonValue

import caravan.curate.filter as contract
from caravan.curate import tokens
from caravan.curate.weights import weights

VERSION = 1
COLUMNS: dict[str, pl.DataType] = {"tokens": pl.Int64(), "supervised_tokens": pl.Int64(), "turns": pl.Int64()}
TRY: dict[str, tuple[float, ...]] = {"max_tokens": (512, 1024, 2048, 4096, 8192)}
REASONS: tuple[str, ...] = ("too_long", "too_short")


class Settings(contract.Settings):
    """`tokenizer`: cl100k_base, o200k_base, or the path of a tokenizer.json (or of the folder that holds it)."""

    tokenizer: str = "cl100k_base"


class Limits(contract.Limits):
    """The most and fewest tokens that a row may have; without them any length stays."""

    max_tokens: int | None = Field(default=None, ge=1)
    min_tokens: int | None = Field(default=None, ge=1)


def fingerprint(settings: Settings) -> dict[str, JsonValue]:
    """The vocabulary's hash, and whether tokens are counted or estimated."""
    return tokens.fingerprint(settings.tokenizer)


def measure(batch: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """`COLUMNS` for each row; raises `UserError` when the tokenizer cannot be had."""
    messages = batch.select(
        pl.int_range(pl.len()).alias("row"), pl.col("messages"), weights=weights(batch["tags"])
    ).filter(pl.col("messages").list.len() > 0)
    flat = messages.select(
        "row",
        pl.col("messages").list.eval(pl.element().struct.field("role")).alias("role"),
        pl.col("messages").list.eval(pl.element().struct.field("content")).alias("content"),
        pl.int_ranges(pl.col("messages").list.len()).alias("turn"),
        "weights",
    ).explode("role", "content", "turn")
    flat = flat.with_columns(
        pl.Series("count", tokens.counter(settings.tokenizer)(flat["content"].to_list()), dtype=pl.Int64),
        supervised=(pl.col("role") == "assistant")
        & (pl.col("weights").list.get(pl.col("turn"), null_on_oob=True).fill_null(1.0) != 0),
    )
    sums = flat.group_by("row").agg(
        tokens=pl.col("count").sum(),
        supervised_tokens=pl.col("count").filter("supervised").sum(),
        turns=(pl.col("role") != "system").sum(),
    )
    rows = batch.select(pl.int_range(pl.len()).alias("row")).join(sums, on="row", how="left", maintain_order="left")
    return rows.select([pl.col(name).cast(dtype).fill_null(0) for name, dtype in COLUMNS.items()])


def verdict(limits: Limits) -> pl.Expr:
    """`too_long` above `max_tokens`, `too_short` below `min_tokens`."""
    count = pl.col("tokens")
    # A limit that is not set is null, and so is each comparison with it.
    return (
        pl.when(count > pl.lit(limits.max_tokens, dtype=pl.Int64))
        .then(pl.lit("too_long"))
        .when(count < pl.lit(limits.min_tokens, dtype=pl.Int64))
        .then(pl.lit("too_short"))
    )
