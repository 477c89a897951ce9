"""The contract of a quality part: a small look at answers and their prompts, 0 (bad) to 1 (nothing wrong).

A part is a module in `curate/quality_parts/` (or any module that an entry point of `caravan.quality_parts` names).
Its file's name is the part's: its values become the column `quality_NAME`.

    VERSION = 1                        # raised when a value of some answer changes: it is part of cache keys
    KIND = "gate"                      # finds a fault, and multiplies the score
    KIND, WEIGHT = "scale", 0.7        # says how much there is of something good; scales are averaged by weight
    def score(exchanges) -> Floats     # one value an answer

A part that needs a model, or anything else that a user must name, has no `score` but

    class Settings(contract.Settings)                                # it is measured only where a recipe names it:
    def fingerprint(settings) -> dict                                # [filters.quality.parts.NAME]
    def scorer(settings) -> Callable[[Exchanges], Floats]            # loads the model, once a process

A value of an answer depends on it, its prompt and the exchange before it: never on the other answers of the batch.
"""

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from pydantic import JsonValue

from caravan.curate.exchanges import Exchanges, Floats
from caravan.curate.filter import Settings

Kind = Literal["gate", "scale"]
S = TypeVar("S", bound=Settings)


class Part(Protocol):
    """What `load("quality_parts", name)` gives, where the part needs nothing."""

    @property
    def VERSION(self) -> int:
        """Raised when a value of some answer changes."""

    @property
    def KIND(self) -> Kind:
        """A gate multiplies the score; scales are averaged."""

    def score(self, exchanges: Exchanges) -> Floats:
        """One value an answer, 0..1."""


@runtime_checkable
class ModelPart(Protocol[S]):
    """What `load("quality_parts", name)` gives, where a recipe must name what the part needs."""

    @property
    def VERSION(self) -> int:
        """Raised when a value of some answer changes."""

    @property
    def KIND(self) -> Kind:
        """A gate multiplies the score; scales are averaged."""

    @property
    def Settings(self) -> type[S]:
        """What a recipe says of the part."""

    def fingerprint(self, settings: S) -> dict[str, JsonValue]:
        """What values depend on beside text and settings: hashes of a model's files."""

    def scorer(self, settings: S) -> Callable[[Exchanges], Floats]:
        """What gives one value an answer, 0..1; `UserError` when the model cannot be loaded."""


def needs_naming(part: Any) -> bool:
    """Whether a part is measured only where a recipe names it."""
    return hasattr(part, "Settings")
