"""Accuracies in percent with their 95 % intervals: over the seeds, or of the test set where seeds do not vary."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from training.study.power import wilson
from training.study.significance import mean_interval

Source = Literal["seeds", "test images"]


@dataclass(frozen=True)
class AccuracyEstimate:
    """A mean accuracy in percent with its 95 % interval; `source` says what the interval reflects, None if there is no interval."""

    mean: float
    low: float | None
    high: float | None
    source: Source | None

    def __str__(self) -> str:
        """Format as `70.0 ± 1.2` over seeds, `70.0 [68.9, 71.1]` over test images."""
        if self.low is None or self.high is None:
            return f"{self.mean:.1f}"
        if self.source == "seeds":
            return f"{self.mean:.1f} ± {(self.high - self.low) / 2:.1f}"
        return f"{self.mean:.1f} [{self.low:.1f}, {self.high:.1f}]"


def accuracy_estimate(rows: Iterable[Mapping[str, Any]], name: str) -> AccuracyEstimate | None:
    """Return the test accuracy `name` of runs that differ in the seed, in percent; None if no run has it.

    Student's t interval over the seeds. For one run, or runs of equal accuracy, the Wilson interval of the test images of
    one run, if their number is known.
    """
    rows = [row for row in rows if row[name] is not None]
    if not rows:
        return None
    interval = mean_interval([100 * row[name] for row in rows])
    if interval.half is not None:
        return AccuracyEstimate(interval.mean, interval.low, interval.high, "seeds")
    value, images = rows[0][name], rows[0].get("test_images")
    if not images:
        return AccuracyEstimate(100 * value, None, None, None)
    low, high = wilson(value, images)
    return AccuracyEstimate(100 * value, 100 * low, 100 * high, "test images")


def interval_note(estimates: Iterable[AccuracyEstimate | None]) -> str:
    """Return a sentence that says which intervals the estimates have."""
    sources = {estimate.source for estimate in estimates if estimate}
    parts = []
    if "seeds" in sources:
        parts.append("mean ± half of the 95 % interval over the seeds (Student's t)")
    if "test images" in sources:
        parts.append(
            "one seed, or seeds of equal accuracy: [low, high] is the 95 % interval of the test images (Wilson), which does "
            "not contain the variation between seeds"
        )
    if None in sources:
        parts.append(
            "one seed, or seeds of equal accuracy: no interval, because the number of test images is unknown"
        )
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."


def sizes(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the known sizes of the test sets of runs, in ascending order."""
    return sorted({row["test_images"] for row in rows if row.get("test_images")})


def points(share: float) -> str:
    """Format a difference of shares as percentage points, rounded up to one decimal."""
    return f"{math.ceil(1000 * share - 1e-9) / 10:.1f}"
