"""Figures of mentors: weights against losses, and data utilization."""

import itertools
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from training.study.plot_panels import MARKERS, SHOWN_LEVEL, FigureData, MissingDataError, legend, panels
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
    canvas, grid = panels(len(data.colors()), len(all_weighted), beside=1.8)
    for axes, color in zip(grid, data.colors(), strict=True):
        for axis, series in zip(axes, all_weighted, strict=True):
            rows = data.select(color=color, series=series, noise_level=level)
            histograms = [
                data.curves[row["run"]][-1]["mentor_weights"] for row in rows if row["run"] in weighted
            ]
            axis.set_title(f"{series}, {color} {100 * level:g} %")
            if histograms:
                _mentor_panel(axis, histograms, noise_style(color)[0])
    for axis in grid[-1]:
        axis.set_xlabel("loss − its moving average")
    for axes in grid:
        axes[0].set_ylabel("weight v; density")
    legend(canvas, [axis for axes in grid for axis in axes])
    return canvas


def _mentor_panel(axis: Axes, histograms: list[Row], paint: str) -> None:
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
    inner = slice(1, bins - 1)  # the outer bins have all values beyond, and may be far higher
    highest = max(max(_shares(count[name])[inner]) for name in ("clean", "noisy")) or 1.0
    for name, color, hatch, label in (
        ("clean", "#777777", None, "clean labels"),
        ("noisy", paint, "///", "wrong labels"),
    ):
        heights = [min(1.0, share / highest) for share in _shares(count[name])]
        axis.stairs(heights, edges, fill=True, alpha=0.35, color=color, hatch=hatch, label=label)
    seen = [c + n for c, n in zip(count["clean"], count["noisy"], strict=True)]
    weight = [c + n for c, n in zip(count["clean_sum"], count["noisy_sum"], strict=True)]
    points = [(x, w / n) for x, w, n in zip(middles, weight, seen, strict=True) if n]
    axis.plot(
        *zip(*points, strict=True),
        color="black",
        marker=".",
        markersize=3,
        linewidth=1.2,
        label="mean weight v",
    )


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
    canvas, grid = panels(len(data.colors()), len(all_used))
    levels = sorted({row["noise_level"] for row in data.rows})
    for axes, color in zip(grid, data.colors(), strict=True):
        for axis, series in zip(axes, all_used, strict=True):
            for level, rows in grouped(data.select(color=color, series=series), "noise_level"):
                shade = 0.25 + 0.75 * (levels.index(level) + 1) / len(levels)
                lines = [data.curves[row["run"]] for row in rows if row["run"] in used]
                means = [
                    mean_interval([e["data_utilization"] for e in same]).mean
                    for same in zip(*lines, strict=False)
                ]
                paint, marker = noise_style(color)[0], MARKERS[levels.index(level) % 10]
                x = [epoch["epoch"] for epoch in lines[0]][: len(means)] if lines else []
                axis.plot(x, [100 * m for m in means], color=paint, alpha=shade, marker=marker, markersize=4,
                          markevery=max(1, len(x) // 6))  # fmt: skip
                axis.axhline(100 * (1 - level), color=paint, alpha=shade, linestyle=":", linewidth=1)
            axis.set_title(f"{series}, {color} noise")
    for axis in grid[-1]:
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    for axes in grid:
        axes[0].set_ylabel("mean weight, %")
    for number, level in enumerate(levels):
        shade = 0.25 + 0.75 * (number + 1) / len(levels)
        grid[0][0].plot([], [], color="0.2", alpha=shade, marker=MARKERS[number % 10], markersize=4,
                        label=f"{100 * level:g} % wrong")  # fmt: skip
    grid[0][0].plot([], [], color="0.2", linestyle=":", label="clean labels")
    legend(canvas, [grid[0][0]])
    return canvas
