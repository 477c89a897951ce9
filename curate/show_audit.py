"""What `curate audit` and `curate train-quality` print."""

from collections.abc import Sequence

from caravan.curate.audit import Drawn, Precision
from caravan.curate.train_quality import Trained


def drawn(result: Drawn, as_json: bool) -> None:
    """The rows drawn by reason, and how to mark them."""
    raise NotImplementedError


def precision(found: Sequence[Precision], as_json: bool) -> None:
    """Each reason's precision with its interval."""
    raise NotImplementedError


def trained(result: Trained, as_json: bool) -> None:
    """The classifier's held-out accuracy, and how to use it."""
    raise NotImplementedError
