"""The smaller a source, the larger its share: p proportional to 1/n, n its size in the recipe's unit.

The weighting by inverse class frequency, applied to sources. The repeat cap binds soon: a source of ten rows asks
for a hundred times the share of one of a thousand.
"""

from collections.abc import Sequence

from caravan.mixtures.strategy import SourceFigures, StrategyOptions, normalised, present


class Options(StrategyOptions):
    """No options."""


def shares(sources: Sequence[SourceFigures], options: Options) -> dict[str, float]:  # noqa: ARG001
    """(1/n) / sum(1/n)."""
    return normalised(sources, {s.name: 1.0 / s.size for s in present(sources)})


def ranked(options: Options) -> bool:  # noqa: ARG001
    """Rows come in hash order."""
    return False
