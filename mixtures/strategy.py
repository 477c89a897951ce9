"""The contract of a strategy: figures per source in, shares that sum to one out.

A strategy is a module in `mixtures/strategies/` with

    class Options(BaseModel): ...                       # its keys in the recipe's `[strategy.options]`
    def shares(sources, options) -> dict[str, float]    # a non-negative share per source, sum 1
    def ranked(options) -> bool                         # better rows of a source first (True), or hash order
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict


class StrategyOptions(BaseModel):
    """Base of every strategy's options: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceFigures(NamedTuple):
    """What is known of one source after deciding: kept examples, their tokens, and their mean quality (0..1)."""

    name: str
    examples: int
    tokens: int
    supervised_tokens: int
    quality: float | None
    weight: float | None = None  # the share that the recipe or the command line gives, if any
    published: float | None = None  # the share that a published mixture gives to this source, if any


O = TypeVar("O", bound=StrategyOptions)  # noqa: E741


class Strategy(Protocol[O]):
    """What `load("strategies", name)` gives."""

    @property
    def Options(self) -> type[O]:
        """The options model."""

    def shares(self, sources: Sequence[SourceFigures], options: O) -> dict[str, float]:
        """A non-negative share for each source; they sum to one. `UserError` when that cannot be."""

    def ranked(self, options: O) -> bool:
        """Whether better rows of a source are drawn first."""
