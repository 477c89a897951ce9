"""How many items a difference needs, and what difference a number of items can show. (Miller, 2024, section 5.)"""

import math
from statistics import NormalDist

from caravan.eval.statistics.estimates import Estimate


def items_needed(delta: float, deviation: float, *, power: float = 0.8, alpha: float = 0.05) -> int:
    """Items for a paired difference `delta`, where items' differences have the standard deviation `deviation`.

    n = (z(1 - alpha/2) + z(power))^2 * deviation^2 / delta^2, rounded up. For the deviation see `discordant_deviation`
    and `paired_deviation`; take it from a pilot or an earlier pair of runs, not from the comparison itself.
    """
    if not delta or not deviation >= 0:
        raise ValueError("a difference of nought needs no number of items")
    return max(2, math.ceil((_quantiles(power, alpha) * deviation / delta) ** 2))


def smallest_effect(n: int, deviation: float, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """The smallest paired difference that n items show with this power."""
    if n < 1:
        raise ValueError(f"{n} items show nothing")
    return _quantiles(power, alpha) * deviation / math.sqrt(n)


def discordant_deviation(discordant: float, delta: float = 0.0) -> float:
    """Standard deviation of 0/1 items' differences: `discordant` is the share of items on which the runs differ.

    The variance is discordant - delta^2.
    """
    if not abs(delta) <= discordant <= 1:
        raise ValueError(f"a share of {discordant} cannot make a difference of {delta}")
    return math.sqrt(discordant - delta**2)


def paired_deviation(
    omega: float, *, sigma_a: float = 0.0, samples_a: int = 1, sigma_b: float = 0.0, samples_b: int = 1
) -> float:
    """Standard deviation of items' differences where each answer is the mean of several drawn at a temperature.

    sqrt(omega^2 + sigma_a^2 / samples_a + sigma_b^2 / samples_b): `omega` is the deviation of the difference of items'
    expected values, `sigma` that of one drawn answer about its item's expected value.
    """
    return math.sqrt(omega**2 + sigma_a**2 / samples_a + sigma_b**2 / samples_b)


def needed_for(found: Estimate) -> int | None:
    """Items for 80% power at a difference of the size found; None where it, or the spread, is nought or unknown.

    The spread of one item is what the standard error says of n, clusters and strata included.
    """
    return items_beside(found.value, found.stderr * math.sqrt(found.n), 0.0)


def items_beside(delta: float, deviation: float, variance: float) -> int | None:
    """Items for 80% power where a variance stays, however many items there are; None where no number does."""
    if not delta or not deviation > 0:
        return None
    left = delta**2 - _quantiles(0.8, 0.05) ** 2 * variance
    return items_needed(math.sqrt(left), deviation) if left > 0 else None


def _quantiles(power: float, alpha: float) -> float:
    if not (0 < alpha < 1 and alpha / 2 < power < 1):
        raise ValueError(f"no test has the power {power} at alpha {alpha}")
    return NormalDist().inv_cdf(1 - alpha / 2) + NormalDist().inv_cdf(power)
