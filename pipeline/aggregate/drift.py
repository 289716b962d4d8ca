"""Whether a worker's agreement with the others changes in the course of time."""

import numpy as np
import pandas as pd

FEWEST = 20  # votes that the others judge, to say anything about a trend
EVEN = np.sqrt(12.0)  # a range, in standard deviations, of what is spread evenly over it


def drifts(sums: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """(drift, z) of each worker, a row of `worker_sums`; NaN where there are too few votes, or all at one time.

    The drift is the change of the leave-one-out agreement from the beginning to the end, by a least-squares line over
    the times of the answers. z is that of the Cochran-Armitage test for a trend in proportions (P. Armitage: Tests for
    Linear Trends in Proportions and Frequencies, 1955): beyond ±1.96 in one of twenty workers without any trend.
    """
    n = sums["dated"].where(sums["dated"] >= FEWEST).astype(np.float64)
    share = sums["dated_agree"] / n
    spread = sums["tt"] - sums["t"] ** 2 / n  # Σ (t − mean)²
    spread = spread.where(spread > 1e-9 * sums["tt"])  # what is less is rounding
    together = sums["t_agree"] - sums["t"] * share
    drift = together / spread * EVEN * np.sqrt(spread / n)
    error = np.sqrt((share * (1 - share) * spread).where((share > 0) & (share < 1)))
    return drift, together / error
