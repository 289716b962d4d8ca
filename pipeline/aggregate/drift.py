"""Change of a worker's agreement with the other workers over time."""

import numpy as np
import pandas as pd

MIN_VOTES = 20  # compared votes with a time, below which no trend is estimated
UNIFORM_RANGE = np.sqrt(12.0)  # range of a uniform distribution in standard deviations


def drifts(sums: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Return (drift, z) of each worker, a row of `worker_sums`; NaN for too few votes, or votes within minutes.

    The drift is the change of the agreement from the first to the last answer, by a least-squares line over the times of
    the answers. z is the statistic of the Cochran-Armitage test for a trend in proportions (P. Armitage: Tests for Linear
    Trends in Proportions and Frequencies, 1955), computed from sums that add up over buckets: without a trend, |z| exceeds
    1.96 for one worker in twenty.
    """
    n = sums["dated"].where(sums["dated"] >= MIN_VOTES).astype(np.float64)
    share = sums["dated_agree"] / n
    spread = sums["tt"] - sums["t"] ** 2 / n  # Σ (t − mean)²
    # Smaller values may be rounding errors. The limit is that of a session of five minutes a year from EPOCH.
    spread = spread.where(spread > 1e-11 * sums["tt"])
    covariance = sums["t_agree"] - sums["t"] * share
    drift = covariance / spread * UNIFORM_RANGE * np.sqrt(spread / n)
    error = np.sqrt((share * (1 - share) * spread).where((share > 0) & (share < 1)))
    return drift, covariance / error
