"""Titles and captions of the figures of a study. A caption promises only the intervals that the data allow."""

from collections.abc import Callable

from training.study.estimates import accuracy_estimate, sizes
from training.study.plot_panels import FigureData
from training.study.summary_tables import grouped

ALL_HAVE = "Only levels and seeds that all {} have count."
CELL = ("network", "color", "noise_level", "series")


def _accuracy(data: FigureData) -> str:
    one_level = len(data.levels()) == 1
    if data.is_crowded() and not one_level:
        return "After the last epoch. The table of all cells has the intervals and the best epochs."
    size = " or ".join(f"{number:,}" for number in sizes(data.rows))
    estimates = [accuracy_estimate(part, "final_accuracy") for _, part in grouped(data.rows, *CELL)]
    sources, band = {estimate.source for estimate in estimates if estimate}, []
    if "seeds" in sources:
        band.append("the 95 % interval over the seeds")
    if "test images" in sources:
        band.append(
            f"{'where seeds do not vary, ' if band else ''}the 95 % interval of the {size} test images, which does not "
            "contain the variation between seeds"
        )
    shape, final, best = ("Line", "Marker", "Upright stroke") if one_level else ("Band", "Line", "Dotted")
    shown = (
        f" {shape}: {'; '.join(band)}."
        if band
        else " No interval: seeds do not vary, and the number of test images is unknown."
    )
    return f"{final}: after the last epoch.{shown} {best}: of the best epoch."


def _belts(data: FigureData) -> str:
    numbers = {
        len({row["noise_level"] for row in data.comparable(color) if row["noise_level"] > 0})
        for color in data.colors()
    }
    bands = []
    if max(numbers) > 2:
        bands.append("its 95 % interval, which reflects the differences between the levels")
    if 2 in numbers:
        bands.append("the range of the two levels" + (" that a color has" if bands else ""))
    return f"Mean over the noise levels above 0 and {', or '.join(bands)}. {ALL_HAVE.format('methods')}"


def _drop(data: FigureData) -> str:
    several = max(len(part) for _, part in grouped(data.rows, *CELL)) > 1
    interval = (
        ", with the 95 % interval over the seeds where it varies"
        if several
        else "; one seed per cell, so there is no interval"
    )
    return f"Best minus final test accuracy{interval}."


def _fixed(text: str) -> Callable[[FigureData], str]:
    return lambda _data: text


CAPTIONS: dict[str, tuple[str, Callable[[FigureData], str]]] = {
    "accuracy": ("Test accuracy against noise level", _accuracy),
    "belts": ("Test accuracy over training", _belts),
    "drop": ("Loss of accuracy from the best to the last epoch", _drop),
    "spread": (
        "Mean and standard deviation over the noise levels",
        _fixed(
            "Final test accuracy: mean ± standard deviation over the levels. Strokes: the levels. "
            f"{ALL_HAVE.format('methods')}"
        ),
    ),
    "mentor": (
        "Mentor weights against loss difference",
        _fixed(
            "Last epoch, all seeds: the distributions of loss minus its moving average for clean and wrong labels, and the "
            "mean weight. Both densities are divided by their common maximum. The first and last "
            "bin also count all values outside the range; bars are cut off at 1."
        ),
    ),
    "utilization": (
        "Data utilization",
        _fixed(
            "Mean weight of the examples in each epoch, by noise level. Dotted: the share of clean labels."
        ),
    ),
    "transfer": (
        "Accuracy on noisy sets against accuracy on ImageNet",
        _fixed(
            "A point per network: mean final accuracy over the noisy sets against ImageNet accuracy (accuracy without noise "
            "if that is unknown), with Pearson's r and its 95 % interval, for which the networks are the sample. "
            f"{ALL_HAVE.format('networks')}"
        ),
    ),
}
