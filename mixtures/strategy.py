"""The contract of a strategy: figures per source in, shares that sum to one out.

A strategy is a module in `mixtures/strategies/` (or any module that an entry point of `caravan.strategies` names)
with

    class Options(StrategyOptions): ...                 # its keys in the recipe's `[strategy.options]`
    def shares(sources, options) -> dict[str, float]    # a non-negative share per source, sum 1
    def ranked(options) -> bool                         # better rows of a source first (True), or hash order

Shares are shares of the mixture in the recipe's unit, so formulas over sizes use `SourceFigures.size`. A source
without examples gets share 0 and the others share the whole: `present` and `normalised` do that for all strategies,
and `notes` says it to people.
"""

from collections.abc import Mapping, Sequence
from math import fsum, isclose
from typing import Literal, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from caravan.errors import UserError


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
    unit: Literal["examples", "tokens", "supervised_tokens"] = "examples"  # the recipe's

    @property
    def size(self) -> int:
        """How much of the source there is, in the recipe's unit."""
        sizes = {"examples": self.examples, "tokens": self.tokens, "supervised_tokens": self.supervised_tokens}
        return sizes[self.unit]


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


def present(sources: Sequence[SourceFigures]) -> list[SourceFigures]:
    """The sources that have something to give; `UserError` when none has."""
    found = [s for s in sources if s.size > 0]
    if not found:
        names = ", ".join(s.name for s in sources) or "none named"
        raise UserError(
            f"nothing to mix: no source has examples left ({names})",
            fix="look at the reasons in the report, or raise the limits",
        )
    return found


def normalised(sources: Sequence[SourceFigures], weights: Mapping[str, float]) -> dict[str, float]:
    """A share for each of `sources`: its weight over the sum of all; 0 where there is no weight."""
    total = fsum(weights.values())
    return {s.name: weights.get(s.name, 0.0) / total for s in sources}


def notes(sources: Sequence[SourceFigures], shares: Mapping[str, float]) -> list[str]:
    """Sentences for people: sources that had nothing to give, given weights that were scaled or not used."""
    found = [
        f"{s.name} has no examples left: its share is 0, and the other sources share the whole"
        for s in sources
        if s.size == 0
    ]
    weights = {s.name: s.weight for s in sources if s.weight is not None}
    total = fsum(weights.values())
    if not weights:
        return found
    live = fsum(weights[s.name] for s in sources if s.size > 0 and s.name in weights)
    used = live > 0 and all(
        isclose(shares[s.name], weights.get(s.name, 0.0) / live, abs_tol=1e-9) for s in sources if s.size > 0
    )
    if not used:
        found.append("the shares that the recipe gives are not used by this strategy (tuned uses them)")
    elif not isclose(total, 1.0, abs_tol=1e-9):
        found.append(f"the given weights sum to {total:.6g}, not to 1: each was divided by the sum")
    return found
