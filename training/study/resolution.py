"""Sentences on the differences that a study, or one run, is too small to show."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from training.study.estimates import points, sizes
from training.study.power import independent_disagreement, smallest_of_images, smallest_of_seeds
from training.study.series import with_series
from training.study.summary_tables import Row, finished, grouped

CAUTION = "80 % power, two-sided 5 %"


def run_sentence(accuracy: float, images: int) -> str:
    """Return which difference between two runs the test images of a run cannot show."""
    smallest = smallest_of_images(images, independent_disagreement(accuracy))
    return (
        f"Intervals: 95 %, of the {images:,} test images (Wilson); other seeds vary too. Differences below "
        f"{points(smallest)} points between two runs may be chance ({CAUTION}, independent errors)."
    )


def resolution_sentences(results: pa.Table) -> list[str]:
    """Return a sentence for each network and color whose seeds or test images do not tell series apart."""
    groups = list(grouped(with_series(finished(results)), "network", "color"))
    several = len({network for (network, _), _ in groups}) > 1
    sentences = []
    for (network, color), rows in groups:
        name = f"{color} noise ({network})" if several else f"{color} noise"
        noisy = [row for row in rows if row["noise_level"]]
        if sentence := _resolution(noisy):
            sentences.append(f"{name}: {sentence}")
    return sentences


def _resolution(rows: list[Row]) -> str | None:
    """Return a sentence if the best series is closer to another than could be shown; None otherwise."""
    values = {
        str(series): {(row["noise_level"], row["seed"]): row["final_accuracy"] for row in part}
        for series, part in grouped(rows, "series")
    }
    cells = sorted(set.intersection(*map(set, values.values()))) if values else []
    if len(values) < 2 or not cells:
        return None
    means = {name: float(np.mean([by_cell[cell] for cell in cells])) for name, by_cell in values.items()}
    best = max(means, key=lambda name: means[name])
    by_images = _by_images(means[best], rows)
    if len({seed for _, seed in cells}) < 2:
        return (
            "one seed per cell, so the methods cannot be compared: runs that differ in nothing but the seed differ, too. "
            "Train at least 3 seeds" + (f". {by_images[1]}" if by_images else "") + "."
        )
    by_seeds = _by_seeds(best, values, cells)
    limit = max(by_seeds[0], by_images[0] if by_images else 0.0)
    close = [name for name in means if name != best and means[best] - means[name] < limit]
    if not close:
        return None
    gaps = ", ".join(f"{name} by {100 * (means[best] - means[name]):.1f}" for name in close)
    reasons = ". ".join(filter(None, (by_seeds[1], by_images and by_images[1])))
    return (
        f"too few seeds or test images to place {best} above all others (it leads {gaps} points). {reasons}."
    )


def _by_seeds(
    best: str, values: Mapping[str, Mapping[Any, float]], cells: Sequence[Any]
) -> tuple[float, str]:
    """Return the smallest difference from the best series that the paired t test shows, and a sentence on it."""
    variances = [
        np.var([values[best][cell] - values[other][cell] for cell in cells], ddof=1)
        for other in values
        if other != best
    ]
    deviation = math.sqrt(float(np.mean(variances)))
    smallest = smallest_of_seeds(len(cells), deviation) or 0.0
    return smallest, (
        f"{len(cells)} pairs of runs (level and seed) whose differences vary by {100 * deviation:.1f} points show "
        f"differences from {points(smallest)} points on (paired t test, {CAUTION})"
    )


def _by_images(accuracy: float, rows: list[Row]) -> tuple[float, str] | None:
    """Return the smallest difference that the test images show in one cell, and a sentence; None if none are known."""
    known = sizes(rows)
    if not known:
        return None
    smallest = smallest_of_images(known[0], independent_disagreement(accuracy))
    return smallest, (
        f"In a single cell, {known[0]:,} test images show differences from {points(smallest)} points on (McNemar's test, "
        "less if the networks err on the same images)"
    )
