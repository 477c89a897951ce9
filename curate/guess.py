"""Which converter reads a file: the one that says so with the most confidence."""

from dataclasses import dataclass

from caravan.converters.converter import NO_MATCH, Match
from caravan.curate.input import Input
from caravan.curate.read import head
from caravan.plugins import find, load

LEAST = 0.3  # a converter that is less sure than this is not taken without being asked for


@dataclass(frozen=True)
class Guess:
    """The converter of a file, how sure it is and why; `others` are the next best."""

    converter: str
    match: Match
    others: dict[str, Match]

    @property
    def fits(self) -> bool:
        """Whether the converter is sure enough to be taken without being asked for."""
        return self.match.confidence >= LEAST


def guess(source: Input) -> Guess | None:
    """Ask every converter about the head of a file; None when the file has no rows that could be read."""
    sample = [row.value for row in head(source)]
    if not sample:
        return None
    matches = {}
    for name in find("converters"):
        try:
            matches[name] = load("converters", name).matches(sample, source.name)
        except Exception:  # a stranger's converter that cannot judge this file does not read it
            matches[name] = NO_MATCH
    ranked = sorted(matches, key=lambda name: (-matches[name].confidence, name))
    best = ranked[0]
    if matches[best].confidence < LEAST:
        return Guess(best, Match(0.0, f"no converter fits; the first row {describe(sample[0])}"), {})
    others = {name: matches[name] for name in ranked[1:] if matches[name].confidence >= LEAST}
    return Guess(best, matches[best], others)


def describe(row: object) -> str:
    """What a raw row looks like, without its texts."""
    if isinstance(row, dict):
        return "has the fields " + (", ".join(map(str, list(row)[:12])) or "(none)")
    if isinstance(row, list):
        return f"is a list of {len(row)} cells"
    return f"is a {type(row).__name__}"
