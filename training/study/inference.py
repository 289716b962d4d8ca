"""What numbers of a few runs allow to say: intervals, paired comparisons, correlations.

The distributions are scipy's; Holm's correction is from Holm, "A simple sequentially rejective multiple test
procedure", Scandinavian Journal of Statistics 6, 1979.
"""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean of `count` numbers with its 95 % interval by Student's t; none around a single number."""

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
        """In percent."""
        return f"{100 * self.mean:.1f}" + ("" if self.half is None else f" ± {100 * self.half:.1f}")


def interval(values: Sequence[float]) -> Interval:
    """Return mean and 95 % interval of at least one number."""
    count, half = len(values), None
    if count > 1:
        quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1))
        half = quantile * statistics.stdev(values) / math.sqrt(count)
    return Interval(statistics.fmean(values), half, count)


def deviation(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation, None for a single number."""
    return statistics.stdev(values) if len(values) > 1 else None


@dataclass(frozen=True)
class Comparison:
    """One method less another over the same cells; p is Holm's, None if there are too few cells for a test."""

    one: str
    other: str
    difference: Interval
    p: float | None

    @property
    def told_apart(self) -> bool:
        """Whether the difference is significant at 5 % after the correction."""
        return self.p is not None and self.p < 1 - CONFIDENCE


def paired_p(differences: Sequence[float]) -> float | None:
    """Return the two-sided p of a paired t test; None for fewer than two differences, or if all are zero."""
    count = len(differences)
    if count < 2 or not any(differences):
        return None
    error = statistics.stdev(differences) / math.sqrt(count)
    if error == 0:
        return 0.0
    return float(2 * stats.t.sf(abs(statistics.fmean(differences)) / error, count - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values adjusted for their number, in the order given."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def compare(values: Mapping[str, Mapping[object, float]], against: str | None = None) -> list[Comparison]:
    """Compare methods two by two, or all with one, over the cells that both have; Holm's correction over all of it.

    `values`: for each method its number in each cell, such as (level, seed).
    """
    pairs = (
        [(against, other) for other in values if other != against]
        if against
        else itertools.combinations(values, 2)
    )
    found = []
    for one, other in pairs:
        shared = [cell for cell in values[one] if cell in values[other]]
        differences = [values[one][cell] - values[other][cell] for cell in shared]
        if differences:
            found.append(Comparison(one, other, interval(differences), paired_p(differences)))
    tested = [c for c in found if c.p is not None]
    adjusted = dict(zip(map(id, tested), holm([c.p for c in tested if c.p is not None]), strict=True))
    return [Comparison(c.one, c.other, c.difference, adjusted.get(id(c))) for c in found]


@dataclass(frozen=True)
class Correlation:
    """Pearson's r of `count` points with its 95 % interval by Fisher's z, which takes four points."""

    r: float
    low: float | None
    high: float | None
    count: int

    def __str__(self) -> str:
        around = "" if self.low is None else f" [{self.low:.2f}, {self.high:.2f}]"
        return f"r = {self.r:.2f}{around}"


def correlation(x: Sequence[float], y: Sequence[float]) -> Correlation | None:
    """Correlate at least three points; None for fewer, or where one side does not vary."""
    count = len(x)
    if count < 3 or len(set(x)) == 1 or len(set(y)) == 1:
        return None
    r = statistics.correlation(x, y)
    if count < 4 or abs(r) >= 1:
        return Correlation(r, None, None, count)
    half = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) / math.sqrt(count - 3)
    return Correlation(r, math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half), count)
