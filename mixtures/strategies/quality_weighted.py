"""The published Tülu shares, and for other sources their measured quality on the same scale.

With P the sources that have a published share and examples, m the mean of their shares, and q the mean quality of a
source's kept examples:

    p(s) = published(s)                       for s in P
    p(s) = m * q(s) / mean(q(t) for t in P)   for all others
    then all p are divided by their sum.

Both means run over sources, each counted once. Without any published source the shares follow quality alone,
p proportional to q. Published shares: Wang et al. 2023, "How Far Can Camels Go? Exploring the State of Instruction
Tuning on Open Resources". Within a source better rows are drawn first; `draw.py` states the order.
"""

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from caravan.errors import UserError
from caravan.mixtures.strategy import SourceFigures, StrategyOptions, normalised, present

PUBLISHED = {"flan": 0.30, "sharegpt": 0.35, "oasst": 0.15, "cot": 0.15, "dolly": 0.05}
ALIASES = {"oasst1": "oasst", "flan_v2": "flan"}


class Options(StrategyOptions):
    """No options."""


def canonical(name: str) -> str:
    """The name under which a source's share was published: case does not matter, and two have aliases."""
    return ALIASES.get(name.casefold(), name.casefold())


def shares(sources: Sequence[SourceFigures], options: Options) -> dict[str, float]:  # noqa: ARG001
    """The formula above; `UserError` names a source whose quality is needed and was not measured."""
    found = present(sources)
    claims = Counter(canonical(s.name) for s in found)  # `oasst` beside `oasst1` divide the one published share
    weights = {s.name: PUBLISHED[c] / claims[c] for s in found if (c := canonical(s.name)) in PUBLISHED}
    others = [s for s in found if s.name not in weights]
    if others:
        scale = fmean(weights.values()) if weights else 1.0
        reference = fmean(_quality(s) for s in found if s.name in weights) if weights else 1.0
        for s in others:
            # A reference of 0 has no scale to offer: the others then count as no better and no worse than it.
            weights[s.name] = scale * (_quality(s) / reference if reference > 0 else 1.0)
    if sum(weights.values()) <= 0:  # only unpublished sources, all of quality 0
        weights = {s.name: 1.0 for s in found}
    return normalised(sources, weights)


def ranked(options: Options) -> bool:  # noqa: ARG001
    """Better rows of a source come first."""
    return True


def _quality(source: SourceFigures) -> float:
    if source.quality is None:
        raise UserError(
            f"the strategy quality_weighted needs the quality of {source.name!r}, which was not measured",
            where=f"sources.{source.name}",
            fix="put the filter quality in use, or choose another strategy",
        )
    return source.quality
