"""Every source keeps the share that it has: p = n / sum(n), n its size in the recipe's unit.

What plain concatenation gives (Raffel et al. 2020, section 3.5.2, examples-proportional mixing without a cap).
"""

from collections.abc import Sequence

from caravan.mixtures.strategy import SourceFigures, StrategyOptions, normalised, present


class Options(StrategyOptions):
    """No options."""


def shares(sources: Sequence[SourceFigures], options: Options) -> dict[str, float]:  # noqa: ARG001
    """n / sum(n)."""
    return normalised(sources, {s.name: float(s.size) for s in present(sources)})


def ranked(options: Options) -> bool:  # noqa: ARG001
    """Rows come in hash order."""
    return False
