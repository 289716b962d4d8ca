"""Features on a grid on which sums of products are exact, so that results do not depend on threads or processors.

A unit vector is rounded to multiples of 2⁻¹². By the Cauchy-Schwarz inequality every partial sum of a product of two such
vectors is at most 1 in magnitude, a multiple of 2⁻²⁴, and thus exact in float32, in any order of summation. Sums of such
products over up to 2²⁸ images are exact in float64.
"""

import numpy as np

GRID = 4096
_LENGTH = 4000 / GRID  # below 1, so that rounding up to 8,192 numbers keeps a vector within length 1
WEIGHT_GRID = 2.0**28


def on_grid(features: np.ndarray) -> np.ndarray:
    """Return features (n, d) scaled to equal length and rounded to the grid, float32 (n, d); a zero vector stays zero.

    Raises ValueError if a feature is not finite.
    """
    wide = features.astype(np.float64)
    if not np.isfinite(wide).all():
        raise ValueError("features are not finite")
    lengths = np.sqrt((wide * wide).sum(axis=1, keepdims=True))
    scaled = wide / np.where(lengths > 0, lengths, 1) * (_LENGTH * GRID)
    result: np.ndarray = (np.rint(scaled) / GRID).astype(np.float32)
    return result


def with_constant(features: np.ndarray) -> np.ndarray:
    """Return features (n, d) with a column of ones, float64 (n, d + 1)."""
    result = np.ones((len(features), features.shape[1] + 1))
    result[:, :-1] = features
    return result
