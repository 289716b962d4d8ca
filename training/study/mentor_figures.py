"""Figures of mentors: weights against losses, and data utilization."""

import itertools
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from training.study.plot_panels import MARKERS, SHOWN_LEVEL, FigureData, MissingDataError, panels
from training.study.plot_style import noise_style
from training.study.significance import mean_interval
from training.study.summary_tables import Row, grouped


def mentor(data: FigureData) -> Canvas:
    """Draw weights against loss minus its moving average in the last epoch, and the losses of clean and wrong labels."""
    weighted = {
        row["run"] for row in data.rows if any(e["mentor_weights"] for e in data.curves.get(row["run"], []))
    }
    all_weighted = [s for s in data.series() if any(row["run"] in weighted for row in data.select(series=s))]
    levels = sorted(
        {row["noise_level"] for row in data.rows if row["run"] in weighted and row["noise_level"] > 0}
    )
    if not levels:
        raise MissingDataError("needs a run of a method with a mentor on a noisy set")
    level = min(levels, key=lambda level: abs(level - SHOWN_LEVEL))
    shown = [(series, color) for series in all_weighted for color in data.colors()]
    titles = [f"{series}\n{color}, {100 * level:g} %" for series, color in shown]
    drawn = panels(data.width, titles, group=len(data.colors()))
    for axis, (series, color) in zip(drawn.axes, shown, strict=True):
        rows = data.select(color=color, series=series, noise_level=level)
        histograms = [data.curves[row["run"]][-1]["mentor_weights"] for row in rows if row["run"] in weighted]
        if histograms:
            _mentor_panel(axis, histograms, color)
    drawn.label("loss − average", "weight, density")
    drawn.legend([Line2D([], [], color="black", marker=".", markersize=2, label="mean weight v")])
    return drawn.canvas


def _mentor_panel(axis: Axes, histograms: list[Row], color: str) -> None:
    """Draw the sum of the mentor histograms of several runs."""
    first = histograms[0]
    count = {
        name: [sum(n) for n in zip(*(histogram[name] for histogram in histograms), strict=True)]
        for name in first
        if name not in ("start", "bin")
    }
    bins = len(count["clean"])
    edges = [first["start"] + first["bin"] * index for index in range(bins + 1)]
    middles = [(low + high) / 2 for low, high in itertools.pairwise(edges)]
    inner = slice(1, bins - 1)  # the first and last bin also count all values outside, and may be far higher
    highest = max(max(_shares(count[name])[inner]) for name in ("clean", "noisy")) or 1.0
    for name, paint, hatch, label in (
        ("clean", "#777777", None, "clean labels"),
        ("noisy", noise_style(color)[0], "////", f"wrong labels, {color}"),
    ):
        heights = [min(1.0, share / highest) for share in _shares(count[name])]
        axis.stairs(heights, edges, fill=True, alpha=0.35, color=paint, hatch=hatch, label=label)
    seen = [c + n for c, n in zip(count["clean"], count["noisy"], strict=True)]
    weight = [c + n for c, n in zip(count["clean_sum"], count["noisy_sum"], strict=True)]
    points = [(x, w / n) for x, w, n in zip(middles, weight, seen, strict=True) if n]
    axis.plot(*zip(*points, strict=True), color="black", marker=".", markersize=2)


def _shares(counts: Sequence[float]) -> list[float]:
    return [count / (sum(counts) or 1) for count in counts]


def utilization(data: FigureData) -> Canvas:
    """Draw the mean weight over training, a line per noise level; dotted: the share of clean labels."""
    used = {
        row["run"] for row in data.rows
        if any(e["data_utilization"] is not None for e in data.curves.get(row["run"], []))
    }  # fmt: skip
    all_used = [s for s in data.series() if any(row["run"] in used for row in data.select(series=s))]
    if not all_used:
        raise MissingDataError("needs a run of a method that weights examples")
    shown = [(series, color) for series in all_used for color in data.colors()]
    drawn = panels(
        data.width, [f"{series}\n{color} noise" for series, color in shown], group=len(data.colors())
    )
    styles: dict[float, dict[str, Any]] = {
        level: {"alpha": 0.25 + 0.75 * (number + 1) / len(data.levels()), "marker": MARKERS[number % len(MARKERS)],
                "markersize": 3}
        for number, level in enumerate(data.levels())
    }  # fmt: skip
    for axis, (series, color) in zip(drawn.axes, shown, strict=True):
        paint = noise_style(color)[0]
        for level, rows in grouped(data.select(color=color, series=series), "noise_level"):
            lines = [data.curves[row["run"]] for row in rows if row["run"] in used]
            means = [
                mean_interval([e["data_utilization"] for e in same]).mean
                for same in zip(*lines, strict=False)
            ]
            x = [epoch["epoch"] for epoch in lines[0]][: len(means)] if lines else []
            axis.plot(
                x, [100 * m for m in means], color=paint, markevery=max(1, len(x) // 5), **styles[level]
            )
            axis.axhline(
                100 * (1 - level), color=paint, alpha=styles[level]["alpha"], linestyle=":", linewidth=0.8
            )
    drawn.axes[0].xaxis.set_major_locator(MaxNLocator(5, integer=True))
    drawn.label("epoch", "mean weight, %")
    drawn.legend([
        *(Line2D([], [], color="0.2", label=f"{100 * level:g} %", **style) for level, style in styles.items()),
        Line2D([], [], color="0.2", linestyle=":", label="clean labels"),
    ])  # fmt: skip
    return drawn.canvas
