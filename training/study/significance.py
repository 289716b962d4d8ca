"""Confidence intervals, paired comparisons of methods, and correlations.

Distributions and tests are those of scipy. Holm's correction: Holm, "A simple sequentially rejective multiple test
procedure", Scandinavian Journal of Statistics 6, 1979.
"""

import itertools
import math
import statistics
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
MIN_SPREAD = 1e-9  # of values, below which they are equal but for rounding
CellKey = TypeVar("CellKey", bound=Hashable)  # such as (level, seed)


@dataclass(frozen=True)
class MeanInterval:
    """The mean of `count` values, and half of its 95 % interval by Student's t.

    `half` is None for a single value, and for equal values: accuracies are multiples of one test image, so a few may be
    equal by chance, and their spread of 0 would give an interval without width.
    """

    mean: float
    half: float | None
    count: int

    @property
    def low(self) -> float | None:
        """The lower end."""
        return None if self.half is None else self.mean - self.half

    @property
    def high(self) -> float | None:
        """The upper end."""
        return None if self.half is None else self.mean + self.half

    def __str__(self) -> str:
        """Format shares in percent."""
        return f"{100 * self.mean:.1f}" + ("" if self.half is None else f" ± {100 * self.half:.1f}")


def mean_interval(values: Sequence[float]) -> MeanInterval:
    """Return mean and 95 % interval of at least one value."""
    count, half = len(values), None
    if not _are_equal(values):
        quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1))
        half = quantile * statistics.stdev(values) / math.sqrt(count)
    return MeanInterval(statistics.fmean(values), half, count)


def _are_equal(values: Sequence[float]) -> bool:
    """Return whether the values, of which there is at least one, are equal but for rounding."""
    return max(values) - min(values) < MIN_SPREAD


def deviation(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation, None for a single value."""
    return statistics.stdev(values) if len(values) > 1 else None


@dataclass(frozen=True)
class Comparison:
    """The difference of two methods over the cells that both have.

    p: of the paired t test, with Holm's correction; None for fewer than two cells, and for equal differences, without
    whose spread the test is undefined.
    """

    first: str
    second: str
    difference: MeanInterval
    p: float | None

    @property
    def is_significant(self) -> bool:
        """Whether the difference is significant at 5 % after the correction."""
        return self.p is not None and self.p < 1 - CONFIDENCE


def compare(values: Mapping[str, Mapping[CellKey, float]]) -> list[Comparison]:
    """Compare all pairs of methods; Holm's correction is over all of them.

    `values`: for each method its value in each cell, such as (level, seed).
    """
    comparisons = []
    for first, second in itertools.combinations(values, 2):
        differences = [
            values[first][cell] - values[second][cell] for cell in values[first].keys() & values[second]
        ]
        if differences:
            p = _paired_p(differences)
            comparisons.append(Comparison(first, second, mean_interval(differences), p))
    adjusted = iter(holm([comparison.p for comparison in comparisons if comparison.p is not None]))
    return [c if c.p is None else replace(c, p=next(adjusted)) for c in comparisons]


def _paired_p(differences: Sequence[float]) -> float | None:
    """Return the two-sided p of a paired t test; None where it is undefined: for one difference, or equal ones."""
    if _are_equal(differences):
        return None
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for their number by Holm's method, in the order given."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted.tolist()


@dataclass(frozen=True)
class Correlation:
    """Pearson's r of `count` points with its 95 % interval by Fisher's z, which needs four points."""

    r: float
    low: float | None
    high: float | None
    count: int

    def __str__(self) -> str:
        interval = "" if self.low is None else f" [{self.low:.2f}, {self.high:.2f}]"
        return f"r = {self.r:.2f}{interval}"


def correlation(x: Sequence[float], y: Sequence[float]) -> Correlation | None:
    """Correlate at least three points; None for fewer, or where x or y varies by no more than rounding."""
    count = len(x)
    if count < 3 or _are_equal(x) or _are_equal(y):
        return None
    pearson = stats.pearsonr(x, y)
    if count < 4:
        return Correlation(float(pearson.statistic), None, None, count)
    low, high = pearson.confidence_interval(CONFIDENCE)
    return Correlation(float(pearson.statistic), float(low), float(high), count)
