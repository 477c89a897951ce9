"""What a maximal length cuts away, from the lengths of rows and the places of their answers."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from caravan.train.tokens import supervised_at

UNCUT = int(np.iinfo(np.int32).max)


@dataclass(frozen=True)
class Cut:
    """What a maximal length cuts away. `supervised` and `tokens` when cut at the end of a turn, as caravan does."""

    length: int
    rows: int  # longer than this
    lost_rows: int  # of these, such as would keep nothing
    tokens: int
    supervised: int
    supervised_plain: int  # if cut at that very token, as other trainers do


def cut_at(records: pl.DataFrame, length: int) -> Cut:
    """What `length` would cut away of `Tokens.records`."""
    taken = records.filter(pl.col("code").is_null() | (pl.col("code") == "too_long"))
    kept = kept_at(taken, length)
    everything = int(supervised_at(taken, UNCUT).sum())
    return Cut(
        length=length,
        rows=int((taken["length"] > length).sum()),
        lost_rows=int((kept == 0).sum()),
        tokens=int((taken["length"] - kept).sum()),
        supervised=everything - int(supervised_at(taken, length).sum()),
        supervised_plain=everything - int(supervised_at(taken, length, plain=True).sum()),
    )


def kept_at(records: pl.DataFrame, length: int) -> pl.Series:
    """Tokens that each row keeps at a maximal length: whole turns, or what fits of the first answer.

    Of `length`, `firsts` and `afters` as in `Tokens.records`.
    """
    fitting = pl.col("afters").list.eval(pl.element().filter(pl.element() <= length)).list.max()
    inside = pl.when(pl.col("firsts").list.first() < length).then(pl.lit(length)).otherwise(0)
    whole = pl.when(pl.col("length") <= length).then("length").otherwise(pl.coalesce(fitting, inside))
    return records.select(whole.cast(pl.Int64).alias("kept"))["kept"]
