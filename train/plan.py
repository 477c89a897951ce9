"""Placeholder until the planner is finished."""

from caravan.train.config import TrainConfig


def check_fits(config: TrainConfig) -> float:
    """GiB that the run needs."""
    return 0.0
