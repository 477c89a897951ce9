"""The contract of a filter: measure, (link,) verdict.

A filter is a module in `curate/filters/` (or any module that an entry point of `caravan.filters` names). It never
removes a row: it adds columns. `decide.py` is the one place that reads them and gives each row a verdict.

    VERSION = 1                          # raised when a measure of some row changes: it is part of cache keys
    COLUMNS: dict[str, pl.DataType]      # the columns that `measure` adds
    REASONS: tuple[str, ...]             # every reason that `verdict` (or a link) can give, snake_case
    class Settings(...)                  # what a measure depends on beside the text
    class Limits(...)                    # what only the verdict depends on
    TRY: dict[str, tuple]                # limits, and the values of each that a dry run says the effect of
    def fingerprint(settings) -> dict           # what else measures depend on: detectors, hashes of benchmark files
    def measure(batch, settings) -> pl.DataFrame        # exactly COLUMNS, one row for each row of the batch
    def verdict(limits) -> pl.Expr                      # a reason (str) or null, over COLUMNS

A batch is a frame with the columns of `Example` (`messages`: list of struct{role, content}; `id`, `source`, `tags`,
`provenance`, `licence`). A measure of a row depends on that row and the settings alone: not on the batch, the
order, the workers or any limit. In a recipe, `[filters.NAME]` holds settings and limits side by side; no key may be
in both. A filter that compares rows also has

    def link(rows, settings) -> list[Links]     # `links.py`: buckets of rows that may be alike, one a key
    def limit(links, limits) -> float | None    # the similarity from which that key's look-alikes are one; None: off
"""

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import polars as pl
from pydantic import BaseModel, ConfigDict, JsonValue

from caravan.curate.links import Links


class Settings(BaseModel):
    """Base of a filter's settings: what measures depend on. Unknown keys are refused; values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(BaseModel):
    """Base of a filter's limits: what only the verdict depends on. Unknown keys are refused; values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=Settings)
L = TypeVar("L", bound=Limits)


class Filter(Protocol[S, L]):
    """What `load("filters", name)` gives."""

    @property
    def VERSION(self) -> int:
        """Raised when a measure of some row changes."""

    @property
    def COLUMNS(self) -> dict[str, pl.DataType]:
        """The columns that `measure` adds."""

    @property
    def REASONS(self) -> tuple[str, ...]:
        """Every reason that this filter can give."""

    @property
    def TRY(self) -> dict[str, tuple[float, ...]]:
        """For limits worth trying, the values that `curate build-mix --dry-run` says the effect of."""

    @property
    def Settings(self) -> type[S]:
        """The settings model."""

    @property
    def Limits(self) -> type[L]:
        """The limits model."""

    def fingerprint(self, settings: S) -> dict[str, JsonValue]:
        """What measures depend on beside text and settings; part of the cache key, shown in the manifest."""

    def measure(self, batch: pl.DataFrame, settings: S) -> pl.DataFrame:
        """Exactly COLUMNS, one row for each row of the batch, in its order."""

    def verdict(self, limits: L) -> pl.Expr:
        """A reason (str) or null for each row."""


@runtime_checkable
class LinkingFilter(Protocol):
    """A filter that compares rows: which of a group of look-alikes stays is decided by `decide.py`."""

    def link(self, rows: pl.DataFrame, settings: Any) -> Sequence[Links]:
        """Buckets of rows that may be alike, one `Links` a key; `rows` has the Example columns and the measures."""

    def limit(self, links: Links, limits: Any) -> float | None:
        """The similarity from which rows of these links count as one; None: this key is off."""
