"""Between proportional and equal: p proportional to n^(1/T), n the source's size in the recipe's unit.

T = 1 is proportional, T -> infinity equal. Raffel et al. 2020 (T5), section 3.5.2, tried T = 2, 4, 8 over sizes
cut at a limit K, which is not built here: the repeat cap does its work. Xue et al. 2021 (mT5) state the same rule
by its exponent alpha = 1/T and chose alpha = 0.3.
"""

from collections.abc import Sequence
from math import exp, log

from pydantic import Field

from caravan.mixtures.strategy import SourceFigures, StrategyOptions, normalised, present


class Options(StrategyOptions):
    """`temperature`: T above 0; 2 is the mildest that T5 tried, 3.33 is mT5's."""

    temperature: float = Field(default=2.0, gt=0, allow_inf_nan=False)


def shares(sources: Sequence[SourceFigures], options: Options) -> dict[str, float]:
    """n^(1/T) / sum(n^(1/T)), computed relative to the largest source so that no power overflows."""
    found = present(sources)
    largest = max(log(s.size) for s in found)
    return normalised(sources, {s.name: exp((log(s.size) - largest) / options.temperature) for s in found})


def ranked(options: Options) -> bool:  # noqa: ARG001
    """Rows come in hash order."""
    return False
