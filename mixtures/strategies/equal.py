"""Every source gets the same share: p = 1 / (number of sources with examples).

The limit of temperature sampling for T -> infinity (Raffel et al. 2020, "Exploring the Limits of Transfer Learning
with a Unified Text-to-Text Transformer", section 3.5.2, equal mixing).
"""

from collections.abc import Sequence

from caravan.mixtures.strategy import SourceFigures, StrategyOptions, normalised, present


class Options(StrategyOptions):
    """No options."""


def shares(sources: Sequence[SourceFigures], options: Options) -> dict[str, float]:  # noqa: ARG001
    """1/k for each of the k sources that have examples."""
    return normalised(sources, {s.name: 1.0 for s in present(sources)})


def ranked(options: Options) -> bool:  # noqa: ARG001
    """Rows come in hash order."""
    return False
