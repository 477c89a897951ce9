"""The interval of a proportion, for whoever counts: hits among items, wrong drops among those looked at."""

import math
from statistics import NormalDist


def wilson(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """The score interval of a proportion (Wilson, 1927). `n` may be an effective number, so need not be whole.

    `ValueError` unless 0 <= successes <= n, n > 0 and 0 < level < 1.
    """
    if not (n > 0 and 0 <= successes <= n and 0 < level < 1):
        raise ValueError(f"{successes} of {n} at level {level}")
    z = NormalDist().inv_cdf((1 + level) / 2)
    p = successes / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)
    return (0.0 if successes == 0 else max(low, 0.0)), (1.0 if successes == n else min(high, 1.0))
