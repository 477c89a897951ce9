"""The shares that the recipe (`share` of a source) or `--weights` gives: p = w / sum(w).

The weights may come from anywhere: a published mixture, a proxy run, a table of one's own.
"""

from collections.abc import Sequence

from caravan.errors import UserError
from caravan.mixtures.strategy import SourceFigures, StrategyOptions, normalised, present


class Options(StrategyOptions):
    """No options: the weights belong to the sources."""


def shares(sources: Sequence[SourceFigures], options: Options) -> dict[str, float]:  # noqa: ARG001
    """w / sum(w) over the sources that have examples; `UserError` names a source without a weight."""
    for s in sources:
        if s.weight is None:
            raise UserError(
                f"the strategy tuned needs a weight for every source, and {s.name!r} has none",
                where=f"sources.{s.name}.share",
                fix=f"give it a share in the recipe, or name it in --weights (0 leaves {s.name!r} out)",
            )
    weights = {s.name: s.weight for s in present(sources) if s.weight is not None}
    if sum(weights.values()) <= 0:
        raise UserError(
            f"no source with examples has a weight above 0 ({', '.join(weights)})", fix="give one a weight above 0"
        )
    return normalised(sources, weights)


def ranked(options: Options) -> bool:  # noqa: ARG001
    """Rows come in hash order."""
    return False
