"""Arithmetic that gives the same bits on every machine: integers, as float64 where matrices are multiplied.

A sum of floating-point products depends on the order of its terms, which differs between machines and numbers of threads.
Sums of products of integers below 2**53 are exact in float64 whatever the order, and keep the speed of its matrix product.
"""

from decimal import Decimal, localcontext
from functools import cache

import numpy as np

UNIT = 64
"""Steps of one standard deviation of a feature, and of one nat of a score."""
_FEATURE_STEPS = 256  # of a feature as it is stored
_LARGEST_FEATURE = 1 << 15
_LARGEST = 8 * UNIT  # standardized features are clipped to ±8 standard deviations
ROWS_TOGETHER = 4096


class Standardizer:
    """Map features to integers with mean 0 and standard deviation UNIT in each dimension, as measured on a sample.

    sample: float16 (n, d). Dimensions that are constant in it become 0.
    """

    def __init__(self, sample: np.ndarray) -> None:
        total = np.zeros(sample.shape[1], np.int64)
        squares = np.zeros(sample.shape[1], np.int64)
        for rows in _pieces(sample):
            values = _integers(rows)
            total += values.sum(axis=0)
            squares += (values * values).sum(axis=0)
        count = max(len(sample), 1)
        self.mean = _divide(total, count)
        # sqrt is correctly rounded in IEEE 754, so its integer part is the same everywhere.
        self.deviation = np.sqrt(np.maximum(squares // count - self.mean**2, 0)).astype(np.int64)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return standardized features, int16 (n, d), of float16 (n, d)."""
        parts = [np.empty((0, len(self.mean)), np.int16)]
        for rows in _pieces(features):
            scaled = _divide((_integers(rows) - self.mean) * UNIT, np.maximum(self.deviation, 1))
            scaled[:, self.deviation == 0] = 0
            parts.append(scaled.clip(-_LARGEST, _LARGEST).astype(np.int16))
        return np.concatenate(parts)


def products(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return the exact matrix product of integers, int64 (n, k), of (n, d) and (d, k)."""
    largest = _LARGEST * int(np.abs(columns).max(initial=0)) * rows.shape[1]
    assert np.abs(rows).max(initial=0) <= _LARGEST
    assert largest < 1 << 53
    return np.asarray(rows.astype(np.float64) @ columns.astype(np.float64)).astype(np.int64)


def draw(scores: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    """Draw a column for each row with probability softmax(scores / UNIT), int64 (n,).

    scores: int64 (n, k), hashes: uint64 (n,), which decide. Probabilities are rounded to steps of about 2**-20.
    """
    weights = softmax_weights(scores)
    ends = np.cumsum(weights, axis=1)
    target = (hashes >> np.uint64(32)) * ends[:, -1].astype(np.uint64) >> np.uint64(32)
    return np.asarray((ends <= target[:, None].astype(np.int64)).sum(axis=1))


def softmax_weights(scores: np.ndarray) -> np.ndarray:
    """Return exp(scores / UNIT) in proportion, as integers, int64 (n, k): the highest score of a row has the weight 2**20.

    With more than 2,048 columns the highest weight is smaller, so that the sum of a row stays below 2**32.
    """
    table = _exponentials(min(20, 31 - scores.shape[1].bit_length()))
    below = scores.max(axis=1, keepdims=True) - scores
    return table[np.minimum(below, len(table) - 1)]


@cache
def _exponentials(bits: int) -> np.ndarray:
    """2**bits · exp(−i / UNIT) for i = 0, 1, …, rounded, int64; the last is 0. Decimal rounds correctly everywhere."""
    values: list[int] = []
    with localcontext() as context:
        context.prec = 30
        while not values or values[-1]:
            values.append(int((Decimal(-len(values)) / UNIT).exp() * (1 << bits) + Decimal("0.5")))
    return np.array(values, np.int64)


def _divide(numerators: np.ndarray, denominators: np.ndarray | int) -> np.ndarray:
    """Divide integers, rounded to the nearest; halves are rounded up."""
    return np.asarray((2 * numerators + denominators) // (2 * denominators))


def mean_rows(rows: np.ndarray) -> np.ndarray:
    """Return the rounded mean of integer rows (n, d), n > 0, as int64 (d,)."""
    return _divide(rows.sum(axis=0, dtype=np.int64), len(rows))


def _integers(features: np.ndarray) -> np.ndarray:
    """Features in steps of 1/256, int64; infinite and undefined ones become the largest and 0."""
    limit = _LARGEST_FEATURE / _FEATURE_STEPS
    values = np.nan_to_num(features.astype(np.float64)).clip(-limit, limit)
    return np.rint(values * _FEATURE_STEPS).astype(np.int64)


def _pieces(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + ROWS_TOGETHER] for start in range(0, len(rows), ROWS_TOGETHER)]
