"""`curate audit`: a seeded sample of dropped rows for a person to mark, and what the marks say of each filter."""

from dataclasses import dataclass
from pathlib import Path

FILE = "audit.csv"


@dataclass(frozen=True)
class Drawn:
    """How many rows of each reason lie in the file, of how many that were dropped for it."""

    path: Path
    reasons: dict[str, tuple[int, int]]  # rows in the file, rows dropped


@dataclass(frozen=True)
class Precision:
    """Of `marked` dropped rows of a reason (and source), how many were `right` to drop, with the 95% interval."""

    reason: str
    source: str  # "" for all sources together
    right: int
    wrong: int
    unsure: int
    unmarked: int
    low: float
    high: float


def draw(mix: Path, path: Path, *, n: int, seed: int) -> Drawn:
    """Write up to `n` dropped rows a reason; `UserError` if the folder is no mixture or the file holds marks already."""
    raise NotImplementedError


def precision(path: Path) -> list[Precision]:
    """Read the marks; `UserError` names the line of a mark that is none."""
    raise NotImplementedError
