"""Wilson score intervals of proportions, for whole columns: scipy.stats.binomtest takes one proportion at a time."""

import numpy as np

Z = 1.959964  # the 97.5 % quantile of the normal distribution


def wilson_interval(part: np.ndarray, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return proportions and the bounds of their 95 % intervals, each float64 (n,) from 0 to 1; NaN where `whole` is 0.

    E. B. Wilson: Probable Inference, the Law of Succession, and Statistical Inference (1927).
    """
    n = whole.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = part / n
        center = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
        half = Z / (1 + Z**2 / n) * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    # Rounding leaves 0 and 1 a little inside or outside of their intervals.
    low = np.where(share == 0, 0.0, center - half)
    high = np.where(share == 1, 1.0, center + half)
    return share, low, high
