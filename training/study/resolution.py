"""Sentences on the differences that a study, or one run, is too small to show."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from training.study.estimates import points, sizes
from training.study.power import independent_disagreement, smallest_of_images, smallest_of_seeds
from training.study.series import with_series
from training.study.significance import compare
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
    """Return what seeds and test images do not show about the lead of the best series; None if they show it.

    Seeds: leads that the paired t test does not call significant. Test images: significant leads that are smaller than
    what the images show in a single cell, since all runs have the same test images.
    """
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
    shared = {name: {cell: by_cell[cell] for cell in cells} for name, by_cell in values.items()}
    leads = {name: means[best] - mean for name, mean in means.items() if name != best}
    unclear = [one.second for one in compare(shared, reference=best) if not one.is_significant]
    sentences = []
    if unclear:
        sentences.append(
            f"too few seeds to place {best} above {_with_leads(unclear, leads)}. {_by_seeds(best, values, cells)}"
        )
    small = [name for name in leads if name not in unclear and by_images and leads[name] < by_images[0]]
    if small and by_images:
        sentences.append(
            f"{'The' if sentences else 'the'} lead of {best} over {_with_leads(small, leads)} holds for these test images, and may not for others. {by_images[1]}"
        )
    return ". ".join([*sentences, ""]).strip() or None


def _with_leads(names: Sequence[str], leads: Mapping[str, float]) -> str:
    """Return names, each with the distance of the best series from it."""
    return ", ".join(f"{name} (by {100 * leads[name]:.1f} points)" for name in names)


def _by_seeds(best: str, values: Mapping[str, Mapping[Any, float]], cells: Sequence[Any]) -> str:
    """Return a sentence on the smallest difference from the best series that the paired t test shows."""
    variances = [
        np.var([values[best][cell] - values[other][cell] for cell in cells], ddof=1)
        for other in values
        if other != best
    ]
    deviation = math.sqrt(float(np.mean(variances)))
    smallest = smallest_of_seeds(len(cells), deviation) or 0.0
    return (
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
