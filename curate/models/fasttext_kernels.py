"""The inner loop of fitting a classifier as fastText has it (`fasttext.py`)."""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from caravan.curate.kernels import given, kernel

Floats32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_I64: Any = given(types.int64)
_OUT_F32: Any = types.float32[:, ::1]


@kernel(types.float64(types.float64))
def logistic(x: float) -> float:
    """1 / (1 + e^-x) in sums and products alone, as the C libraries' own differ in the last digit: to 1e-7 or so.

    e^-y by its series after y was divided by 2^10, and the result squared ten times; beyond 30 it is 0 or 1.
    """
    if x > 30.0 or x < -30.0:
        return 1.0 if x > 0 else 0.0
    y = (x if x < 0 else -x) / 1024.0
    power = 1.0 + y * (1.0 + y * (0.5 + y * (1.0 / 6.0 + y * (1.0 / 24.0))))
    for _ in range(10):
        power = power * power
    return power / (1.0 + power) if x < 0 else 1.0 / (1.0 + power)


@kernel(types.void(_I64, _I64, _I64, _I64, types.float64, _OUT_F32, _OUT_F32))
def descend(
    rows: Ints, ends: Ints, labels: Ints, order: Ints, rate: float, vectors: Floats32, weights: Floats32
) -> None:
    """Stochastic gradient descent on the cross entropy of two labels, in place, the rate falling evenly to 0.

    Example i has the vectors `rows[ends[i]:ends[i + 1]]` and label 0 or 1; `order` says which comes when.
    """
    dimensions = vectors.shape[1]
    hidden, change = np.zeros(dimensions), np.zeros(dimensions)
    for step in range(order.size):
        example = order[step]
        start, stop = ends[example], ends[example + 1]
        hidden[:] = 0.0
        for k in range(start, stop):
            for d in range(dimensions):
                hidden[d] += vectors[rows[k], d]
        margin = 0.0
        for d in range(dimensions):
            hidden[d] /= stop - start
            margin += (weights[0, d] - weights[1, d]) * hidden[d]
        first = logistic(margin)
        alpha = rate * (1.0 - step / order.size) * ((1.0 if labels[example] == 0 else 0.0) - first)
        for d in range(dimensions):
            change[d] = alpha * (weights[0, d] - weights[1, d]) / (stop - start)
            weights[0, d] += alpha * hidden[d]
            weights[1, d] -= alpha * hidden[d]
        for k in range(start, stop):
            for d in range(dimensions):
                vectors[rows[k], d] += change[d]
