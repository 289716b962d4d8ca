"""Sentences on what a study shows: the best method of each color of noise, and which differences it is too small to show."""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from training.study.estimates import points, sizes
from training.study.power import smallest_of_images, smallest_of_seeds
from training.study.series import with_series
from training.study.significance import MIN_SPREAD, Comparison, compare
from training.study.summary_tables import Row, finished, grouped, with_shared_cells

CAUTION = "80 % power, two-sided 5 %"

LevelAndSeed = tuple[float, int]


@dataclass(frozen=True)
class Accuracies:
    """The final test accuracy, 0 to 1, of each of at least two series, by noise level and seed.

    Every series has the same levels above 0 and the same seeds at each, and there is at least one.
    """

    by_series: Mapping[str, Mapping[LevelAndSeed, float]]

    @classmethod
    def shared(cls, rows: Iterable[Row]) -> "Accuracies | None":
        """Return the accuracies at the levels and seeds that all series of the rows have; None if these are too few."""
        noisy = with_shared_cells([row for row in rows if row["noise_level"]], "series")
        noisy.sort(key=lambda row: (row["noise_level"], row["seed"]))
        values = {
            str(series): {(row["noise_level"], row["seed"]): row["final_accuracy"] for row in part}
            for series, part in grouped(noisy, "series")
        }
        return cls(values) if len(values) > 1 else None

    @property
    def cells(self) -> Sequence[LevelAndSeed]:
        """The levels and seeds."""
        return list(next(iter(self.by_series.values())))

    @property
    def levels(self) -> list[float]:
        """The levels in ascending order."""
        return sorted({level for level, _ in self.cells})

    @cached_property
    def seeds(self) -> tuple[int, int]:
        """The least and the greatest number of seeds at a level: runs may be missing."""
        numbers = Counter(level for level, _ in self.cells).values()
        return min(numbers), max(numbers)

    @cached_property
    def means(self) -> Mapping[str, float]:
        """The mean accuracy of each series."""
        return {name: statistics.fmean(by_cell.values()) for name, by_cell in self.by_series.items()}

    @property
    def best(self) -> str:
        """The series with the highest mean."""
        return max(self.means, key=lambda name: self.means[name])

    @cached_property
    def leads(self) -> Mapping[str, float]:
        """The distance of the best series from each other one: the difference of their means, at least 0."""
        return {name: self.means[self.best] - mean for name, mean in self.means.items() if name != self.best}

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """The comparisons of all pairs of series; the correction is over all, since the best is known only from the data."""
        return compare(self.by_series)

    @cached_property
    def significance(self) -> Mapping[str, bool | None]:
        """For each other series whether the best differs significantly; None where the differences are all equal.

        Needs two cells.
        """
        pairs = [(one, {one.first, one.second}) for one in self.comparisons]
        return {
            next(iter(names - {self.best})): None if one.p is None else one.is_significant
            for one, names in pairs
            if self.best in names
        }

    def others(self, *, significant: bool | None) -> list[str]:
        """Return the other series with this significance."""
        return [name for name, found in self.significance.items() if found is significant]


def run_sentence(accuracy: float, images: int) -> str:
    """Return which difference between two runs the test images of a run cannot show."""
    smallest = smallest_of_images(images, accuracy)
    small = (
        "They are too few to show a difference between two runs"
        if smallest is None
        else f"Differences below {points(smallest)} points between two runs may be chance"
    )
    return (
        f"Intervals: 95 %, of the {images:,} test images (Wilson); they do not include the variation between seeds. "
        f"{small} ({CAUTION}, independent errors)."
    )


def study_sentences(results: pa.Table) -> list[str]:
    """Return the sentences on the best methods, then those on what seeds and test images do not show."""
    return [*best_method_sentences(results), *resolution_sentences(results)]


def best_method_sentences(results: pa.Table) -> list[str]:
    """Return a sentence for each network and color with at least two series and two seeds."""
    return _by_network_and_color(results, _best_method)


def resolution_sentences(results: pa.Table) -> list[str]:
    """Return a sentence for each network and color whose seeds or test images do not tell series apart."""
    return _by_network_and_color(results, _resolution)


def _by_network_and_color(results: pa.Table, write: Callable[[list[Row]], str | None]) -> list[str]:
    """Return what `write` returns for the finished runs of each network and color, which it names."""
    groups = list(grouped(with_series(finished(results)), "network", "color"))
    several = len({network for (network, _), _ in groups}) > 1
    sentences = []
    for (network, color), rows in groups:
        if sentence := write(rows):
            sentences.append(f"{color} noise{f' ({network})' if several else ''}: {sentence}")
    return sentences


def _best_method(rows: list[Row]) -> str | None:
    """Return which series is best, and from which it differs; None for too few series or seeds."""
    accuracies = Accuracies.shared(rows)
    if accuracies is None or max(accuracies.seeds) < 2:
        return None
    least, most = accuracies.seeds
    seeds = f"{most} seeds" if least == most else f"{least} to {most} seeds each"
    best, relations, tests = accuracies.best, _relations(accuracies), ""
    if any(known is not None for known in accuracies.significance.values()):
        without_noise = any(not row["noise_level"] for row in rows)
        tests = (
            " (paired t tests over level and seed with Holm's correction over all pairs, p < 0.05"
            f"{'; the table of comparisons also counts runs without noise' if without_noise else ''})"
        )
    return (
        f"{best} has the highest mean final test accuracy, {100 * accuracies.means[best]:.1f} %, over "
        f"{_listed([f'{100 * level:g} %' for level in accuracies.levels])} wrong labels and {seeds}; it "
        f"is {_listed(relations)}{tests}."
    )


def _relations(accuracies: Accuracies) -> list[str]:
    """Return how the best series compares with the others, a phrase for each kind of relation."""
    untested = accuracies.others(significant=None)
    ahead = [name for name in untested if accuracies.leads[name] > MIN_SPREAD]
    phrases = {
        "significantly above {}": accuracies.others(significant=True),
        "not distinguishable from {}": accuracies.others(significant=False),
        "above {} by the same difference in all runs, to which the paired t test does not apply": ahead,
        "equal to {} in all runs": [name for name in untested if name not in ahead],
    }
    return [phrase.format(_listed(names)) for phrase, names in phrases.items() if names]


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _resolution(rows: list[Row]) -> str | None:
    """Return what seeds and test images do not show about the lead of the best series; None if they show it.

    Seeds: leads that the paired t test does not call significant. Test images: significant leads that are smaller than
    what the images show in a single cell, since all runs have the same test images.
    """
    accuracies = Accuracies.shared(rows)
    if accuracies is None:
        return None
    best, means = accuracies.best, accuracies.means
    by_images = _by_images(means[best], rows)
    if max(accuracies.seeds) < 2:
        cells = grouped([row for row in rows if row["noise_level"]], "series", "noise_level")
        have = (
            "only one seed per cell has finished with all methods"
            if any(len(part) > 1 for _, part in cells)
            else "one seed per cell"
        )
        return (
            f"{have}, so the methods cannot be compared: runs that differ in nothing but the seed differ, too. "
            "Train at least 3 seeds" + (f". {by_images[1]}" if by_images else "") + "."
        )
    leads = {name: lead for name, lead in accuracies.leads.items() if lead > MIN_SPREAD}  # without ties
    unclear, untested = (
        [name for name in accuracies.others(significant=wanted) if name in leads] for wanted in (False, None)
    )
    sentences = []
    if unclear:
        sentences.append(
            f"too few seeds to place {best} above {_with_leads(unclear, leads)}. {_by_seeds(accuracies, unclear)}"
        )
    if untested:
        sentences.append(
            f"{'The' if sentences else 'the'} lead of {best} over {_with_leads(untested, leads)} is the same in all "
            f"{len(accuracies.cells)} pairs of runs, so the paired t test, which needs differences that vary, does not apply"
        )
    small = [name for name in leads if name not in unclear and by_images and leads[name] < by_images[0]]
    if small and by_images:
        sentences.append(
            f"{'The' if sentences else 'the'} lead of {best} over {_with_leads(small, leads)} holds for these test images, "
            f"and may not for others. {by_images[1]}"
        )
    return f"{'. '.join(sentences)}." if sentences else None


def _with_leads(names: Sequence[str], leads: Mapping[str, float]) -> str:
    """Return names, each with the distance of the best series from it."""
    return ", ".join(f"{name} (by {100 * leads[name]:.1f} points)" for name in names)


def _by_seeds(accuracies: Accuracies, unclear: Sequence[str]) -> str:
    """Return a sentence on the smallest difference from the best series that the paired t test shows, if it shows any.

    It is that of the largest deviation among the unclear series, of which there must be one, at a level divided by the
    number of comparisons. Holm's correction is less strict, so every difference that it leaves unclear is smaller.
    """
    best, *others = (
        np.array(list(accuracies.by_series[name].values())) for name in (accuracies.best, *unclear)
    )
    deviation = max(float(np.std(best - other, ddof=1)) for other in others)
    number = sum(one.p is not None for one in accuracies.comparisons)
    smallest = smallest_of_seeds(len(best), deviation, comparisons=number)
    assert smallest is not None  # the test applies to two pairs or more
    # a few pairs at a level that is divided by many comparisons would need more than 100 points
    shown = "no difference" if smallest > 1 else f"differences from {points(smallest)} points on"
    corrected = f" corrected for {number} comparisons" if number > 1 else ""
    return (
        f"{len(best)} pairs of runs (level and seed) whose differences vary by {'up to ' * (len(others) > 1)}"
        f"{100 * deviation:.1f} points show {shown} (paired t test, {CAUTION}{corrected})"
    )


def _by_images(accuracy: float, rows: list[Row]) -> tuple[float, str] | None:
    """Return the smallest difference that the test images show in one cell, and a sentence; None if none are known.

    The difference is infinite if the test images show none.
    """
    known = sizes(rows)
    if not known:
        return None
    smallest = smallest_of_images(known[0], accuracy)
    shown = "no difference" if smallest is None else f"differences from {points(smallest)} points on"
    return smallest or math.inf, (
        f"In a single cell, {known[0]:,} test images show {shown} (McNemar's test, less if the networks err on the same "
        "images)"
    )
