"""`curate train-quality`: a fastText classifier from a user's own good and bad examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from caravan.terminal import Progress


@dataclass(frozen=True)
class Trained:
    """The classifier's file, what it was fitted on, and how good it is on prompts that it never saw."""

    path: Path
    fitted: int
    held_out: int
    accuracy: tuple[float, float, float]  # with the 95% interval
    auc: float


def train_quality(
    good: Sequence[str],
    bad: Sequence[str],
    out: Path,
    *,
    held_out: float = 0.2,
    seed: int = 0,
    progress: Progress | None = None,
) -> Trained:
    """Fit and write; `UserError` when a file cannot be read, or a side has too few examples."""
    raise NotImplementedError
