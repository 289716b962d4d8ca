"""The figures of a study, after those of the paper, as SVG and PNG."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from training.config import METHODS
from training.study.inference import Interval, correlation, deviation, interval
from training.study.looks import METHOD, STYLE, noise_look
from training.study.tables import Row, finished, grouped

PANEL = (3.4, 3.0)  # inches
MARKERS = "os^Dv<>ph*"
SHOWN_LEVEL = 0.4  # the figures of one level take the nearest to it


class Absent(Exception):
    """The study has not what a figure shows; the text says what is missing."""


@dataclass(frozen=True)
class Figure:
    """One figure that was drawn."""

    name: str
    title: str
    caption: str
    svg: Path
    png: Path


@dataclass(frozen=True)
class Data:
    """The finished runs of one setting and network, and the epochs of all runs."""

    rows: list[Row]
    curves: dict[str, list[Row]]

    def colours(self) -> list[str]:
        """Kinds of noise, in the order of the rows."""
        return list(dict.fromkeys(row["colour"] for row in self.rows))

    def methods(self) -> list[str]:
        """Methods in their usual order."""
        return [method for method in METHODS if any(row["method"] == method for row in self.rows)]

    def select(self, **values: Any) -> list[Row]:
        """Return the rows with these values."""
        return [row for row in self.rows if all(row[name] == value for name, value in values.items())]


def draw_all(results: pa.Table, curves: pa.Table, folder: Path) -> tuple[list[Figure], list[str]]:
    """Draw every figure that the data allow, and return them, and why the others were left out.

    A study of several settings or networks has each figure once for each, with their names in the file's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    by_run = dict(grouped(curves.to_pylist(), "run"))
    rows = finished(results)
    parts = list(grouped(rows, "setting", "network"))
    drawn, absent = [], []
    for (setting, network), part in parts:
        several = len(parts) > 1
        of = f"-{setting}-{network}".replace("/", "-") if several else ""
        for name, (title, caption, draw) in FIGURES.items():
            try:
                with matplotlib.rc_context(STYLE):
                    canvas = draw(Data(part, by_run))
                    title = f"{title} ({network}, {setting})" if several else title
                    drawn.append(_save(canvas, folder, f"{name}{of}", title, caption))
            except Absent as why:
                absent.append(f"{name}{of}: {why}")
    try:
        with matplotlib.rc_context(STYLE):
            drawn.append(_save(transfer(Data(rows, by_run)), folder, "transfer", *TRANSFER))
    except Absent as why:
        absent.append(f"transfer: {why}")
    return drawn, absent


def _save(canvas: Canvas, folder: Path, name: str, title: str, caption: str) -> Figure:
    svg, png = folder / f"{name}.svg", folder / f"{name}.png"
    canvas.savefig(png, dpi=150, metadata={"Software": None})
    canvas.set_layout_engine("none")  # it is laid out now, and that is half of the time
    canvas.savefig(svg, metadata={"Date": None})
    return Figure(name, title, caption, svg, png)


def _panels(
    rows: int, columns: int, *, legend: float = 1.3, sharex: bool = True
) -> tuple[Canvas, list[list[Axes]]]:
    size = (PANEL[0] * columns + 0.3 + legend, PANEL[1] * rows + 0.3)
    canvas = Canvas(figsize=size, layout="constrained")
    return canvas, canvas.subplots(rows, columns, sharey=True, sharex=sharex, squeeze=False).tolist()


def _legend(canvas: Canvas, axes: Sequence[Axes]) -> None:
    """One legend for all panels, beside them, each name once."""
    named: dict[str, Any] = {}
    for axis in axes:
        named |= {text: handle for handle, text in zip(*axis.get_legend_handles_labels(), strict=True)}
    canvas.legend(list(named.values()), list(named), loc="outside right center")


def _band(axis: Axes, x: Sequence[float], found: Sequence[Interval], paint: str) -> None:
    """Fill between the ends of the intervals, in per cent, where there are any."""
    if all(one.half is not None for one in found):
        low, high = ([100 * (one.mean + sign * (one.half or 0)) for one in found] for sign in (-1, 1))
        axis.fill_between(x, low, high, color=paint, alpha=0.18, linewidth=0)


def accuracy(data: Data) -> Canvas:
    """Final and peak accuracy against noise level; a panel per colour, a line per method."""
    canvas, [axes] = _panels(1, len(data.colours()), legend=1.6)
    for axis, colour in zip(axes, data.colours(), strict=True):
        for method in data.methods():
            levels = list(grouped(data.select(colour=colour, method=method), "noise_level"))
            if not levels:
                continue
            x, (paint, marker) = [100 * level for level, _ in levels], METHOD[method]
            final = [interval([row["final_accuracy"] for row in rows]) for _, rows in levels]
            peak = [100 * interval([row["best_accuracy"] for row in rows]).mean for _, rows in levels]
            axis.plot(x, [100 * one.mean for one in final], color=paint, marker=marker, label=method)
            _band(axis, x, final, paint)
            axis.plot(x, peak, color=paint, linestyle=":", marker=marker, markerfacecolor="none", alpha=0.8)
        axis.set_title(f"{colour} noise")
        axis.set_xlabel("wrong labels, %")
    axes[0].set_ylabel("test accuracy, %")
    axes[-1].plot([], [], color="0.3", label="final")
    axes[-1].plot([], [], color="0.3", linestyle=":", label="peak")
    _legend(canvas, axes)
    return canvas


def belts(data: Data) -> Canvas:
    """Test accuracy over training, a belt per colour: the mean over the noise levels and its 95 % interval."""
    methods, drawn = data.methods(), False
    canvas, [axes] = _panels(1, len(methods))
    for axis, method in zip(axes, methods, strict=True):
        for colour in data.colours():
            noisy = [row for row in data.select(colour=colour, method=method) if row["noise_level"] > 0]
            per_level = [_mean_curve(data, rows) for _, rows in grouped(noisy, "noise_level")]
            shared = sorted(set.intersection(*map(set, per_level))) if len(per_level) > 2 else []
            if not shared:
                continue
            drawn, (paint, style) = True, noise_look(colour)
            found = [interval([curve[epoch] for curve in per_level]) for epoch in shared]
            axis.plot(shared, [100 * one.mean for one in found], color=paint, linestyle=style, label=colour)
            _band(axis, shared, found, paint)
        axis.set_title(method)
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if not drawn:
        raise Absent("takes three noise levels above 0 of one colour and method")
    axes[0].set_ylabel("test accuracy, %")
    axes[0].set_ylim(max(0.0, axes[0].get_ylim()[0]), min(100.0, axes[0].get_ylim()[1]))
    _legend(canvas, axes)
    return canvas


def _mean_curve(data: Data, rows: list[Row]) -> dict[int, float]:
    """Test accuracy by epoch, the mean of the runs that have it."""
    points: dict[int, list[float]] = {}
    for row in rows:
        for epoch in data.curves.get(row["run"], []):
            if epoch["test_accuracy"] is not None:
                points.setdefault(epoch["epoch"], []).append(epoch["test_accuracy"])
    return {epoch: sum(values) / len(values) for epoch, values in points.items()}


def drop(data: Data) -> Canvas:
    """Peak less final accuracy against noise level; a panel per method, a line per colour."""
    canvas, [axes] = _panels(1, len(data.methods()))
    for axis, method in zip(axes, data.methods(), strict=True):
        for colour in data.colours():
            levels = list(grouped(data.select(colour=colour, method=method), "noise_level"))
            if not levels:
                continue
            x, (paint, style) = [100 * level for level, _ in levels], noise_look(colour)
            found = [interval([r["best_accuracy"] - r["final_accuracy"] for r in rows]) for _, rows in levels]
            axis.plot(
                x, [100 * one.mean for one in found], color=paint, linestyle=style, marker="o", label=colour
            )
            _band(axis, x, found, paint)
        axis.set_title(method)
        axis.set_xlabel("wrong labels, %")
    axes[0].set_ylabel("peak − final, points")
    _legend(canvas, axes)
    return canvas


def spread(data: Data) -> Canvas:
    """Final accuracy of each method: mean and standard deviation over the noise levels, by colour."""
    if len({row["noise_level"] for row in data.rows}) < 2:
        raise Absent("takes two noise levels")
    methods = data.methods()
    canvas, [[axis]] = _panels(1, 1)
    canvas.set_size_inches(1.6 + 1.1 * max(3, len(methods)), 1.15 * PANEL[1])
    for number, colour in enumerate(data.colours()):
        paint, _ = noise_look(colour)
        shift = 0.16 * (number - (len(data.colours()) - 1) / 2)
        for place, method in enumerate(methods):
            levels = grouped(data.select(colour=colour, method=method), "noise_level")
            means = [100 * interval([row["final_accuracy"] for row in rows]).mean for _, rows in levels]
            if not means:
                continue
            axis.errorbar(
                place + shift, interval(means).mean, deviation(means) or 0, color=paint, capsize=4,
                marker=MARKERS[number], linestyle="none", label=colour,
            )  # fmt: skip
            axis.plot([place + shift + 0.06] * len(means), means, ".", color=paint, alpha=0.4, markersize=4)
    axis.set_xticks(range(len(methods)), methods)
    axis.set_xlim(-0.5, len(methods) - 0.5)
    axis.set_ylabel("final test accuracy, %")
    axis.grid(axis="x", visible=False)
    _legend(canvas, [axis])
    return canvas


def mentor(data: Data) -> Canvas:
    """Weights against loss less its moving average in the last epoch, over where clean and wrong labels lie."""
    weighted = {
        row["run"] for row in data.rows if any(e["mentor_weights"] for e in data.curves.get(row["run"], []))
    }
    methods = [m for m in data.methods() if any(row["run"] in weighted for row in data.select(method=m))]
    levels = sorted(
        {row["noise_level"] for row in data.rows if row["run"] in weighted and row["noise_level"] > 0}
    )
    if not levels:
        raise Absent("no run of a method with a mentor on a noisy set")
    level = min(levels, key=lambda one: abs(one - SHOWN_LEVEL))
    canvas, grid = _panels(len(data.colours()), len(methods), legend=1.8)
    for axes, colour in zip(grid, data.colours(), strict=True):
        for axis, method in zip(axes, methods, strict=True):
            rows = data.select(colour=colour, method=method, noise_level=level)
            told = [data.curves[row["run"]][-1]["mentor_weights"] for row in rows if row["run"] in weighted]
            axis.set_title(f"{method}, {colour} {100 * level:g} %")
            if told:
                _mentor_panel(axis, told, noise_look(colour)[0])
    for axis in grid[-1]:
        axis.set_xlabel("loss − its moving average")
    for axes in grid:
        axes[0].set_ylabel("weight v; density")
    _legend(canvas, [axis for axes in grid for axis in axes])
    return canvas


def _mentor_panel(axis: Axes, told: list[Row], paint: str) -> None:
    first = told[0]
    count = {kind: [sum(n) for n in zip(*(one[kind] for one in told), strict=True)] for kind in first if kind != "start" and kind != "bin"}  # fmt: skip
    bins = len(count["clean"])
    edges = [first["start"] + first["bin"] * place for place in range(bins + 1)]
    middles = [(low + high) / 2 for low, high in itertools.pairwise(edges)]
    inner = slice(1, bins - 1)  # the outer bins hold all that is beyond, and may tower above the others
    highest = max(max(_shares(count[kind])[inner]) for kind in ("clean", "noisy")) or 1.0
    for kind, colour, hatch, name in (
        ("clean", "#777777", None, "right labels"),
        ("noisy", paint, "///", "wrong labels"),
    ):
        heights = [min(1.0, share / highest) for share in _shares(count[kind])]
        axis.stairs(heights, edges, fill=True, alpha=0.35, color=colour, hatch=hatch, label=name)
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
    return [one / (sum(counts) or 1) for one in counts]


def utilisation(data: Data) -> Canvas:
    """Mean weight over training, a line per noise level; dotted: the share of right labels."""
    used = {
        row["run"] for row in data.rows
        if any(e["data_utilisation"] is not None for e in data.curves.get(row["run"], []))
    }  # fmt: skip
    methods = [m for m in data.methods() if any(row["run"] in used for row in data.select(method=m))]
    if not methods:
        raise Absent("no run of a method that weighs examples")
    canvas, grid = _panels(len(data.colours()), len(methods))
    levels = sorted({row["noise_level"] for row in data.rows})
    for axes, colour in zip(grid, data.colours(), strict=True):
        for axis, method in zip(axes, methods, strict=True):
            for level, rows in grouped(data.select(colour=colour, method=method), "noise_level"):
                shade = 0.25 + 0.75 * (levels.index(level) + 1) / len(levels)
                lines = [data.curves[row["run"]] for row in rows if row["run"] in used]
                means = [
                    interval([e["data_utilisation"] for e in same]).mean for same in zip(*lines, strict=False)
                ]
                paint, marker = noise_look(colour)[0], MARKERS[levels.index(level) % 10]
                x = [epoch["epoch"] for epoch in lines[0]][: len(means)] if lines else []
                axis.plot(x, [100 * m for m in means], color=paint, alpha=shade, marker=marker, markersize=4,
                          markevery=max(1, len(x) // 6))  # fmt: skip
                axis.axhline(100 * (1 - level), color=paint, alpha=shade, linestyle=":", linewidth=1)
            axis.set_title(f"{method}, {colour} noise")
    for axis in grid[-1]:
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    for axes in grid:
        axes[0].set_ylabel("mean weight, %")
    for number, level in enumerate(levels):
        shade = 0.25 + 0.75 * (number + 1) / len(levels)
        grid[0][0].plot([], [], color="0.2", alpha=shade, marker=MARKERS[number % 10], markersize=4,
                        label=f"{100 * level:g} % wrong")  # fmt: skip
    grid[0][0].plot([], [], color="0.2", linestyle=":", label="right labels")
    _legend(canvas, [grid[0][0]])
    return canvas


def transfer(data: Data) -> Canvas:
    """Accuracy without noise, or on ImageNet where it is published, against noisy accuracy; a point per network."""
    settings = list(dict.fromkeys(row["setting"] for row in data.rows))
    if len({row["network"] for row in data.rows}) < 3:
        raise Absent("takes three networks")
    method = data.methods()[0]
    networks = list(dict.fromkeys(row["network"] for row in data.rows))
    canvas, [axes] = _panels(1, len(settings), legend=2.2, sharex=False)
    for axis, setting in zip(axes, settings, strict=True):
        rows = [row for row in data.rows if row["setting"] == setting and row["method"] == method]
        published = all(row["imagenet_accuracy"] is not None for row in rows)
        told = []
        for colour in data.colours():
            points, (paint, _) = _transfer_points(rows, colour, published), noise_look(colour)
            for network, (x, y) in points.items():
                marker = MARKERS[networks.index(network) % len(MARKERS)]
                axis.plot(x, y, marker, color=paint)
            found = correlation(*zip(*points.values(), strict=True)) if points else None
            told.append(Line2D([], [], color=paint, lw=4, label=f"{colour}: {found or 'too few networks'}"))
        axis.set_xlabel("ImageNet top-1, %" if published else "test accuracy without noise, %")
        axis.set_title(f"{method}, {setting}")
        axis.legend(handles=told, loc="lower left", bbox_to_anchor=(0, 1.1), fontsize=8, borderaxespad=0)
    for number, network in enumerate(networks):
        marker = MARKERS[number % len(MARKERS)]
        axes[0].plot([], [], marker, color="0.3", label=network.partition("/")[2] or network)
    axes[0].set_ylabel("mean final accuracy\non noisy sets, %")
    _legend(canvas, axes)
    return canvas


def _transfer_points(rows: list[Row], colour: str, published: bool) -> dict[str, tuple[float, float]]:
    """For each network what it reaches elsewhere and on the noisy sets, in per cent."""
    points = {}
    for network, part in grouped([row for row in rows if row["colour"] == colour], "network"):
        clean = [row["final_accuracy"] for row in part if row["noise_level"] == 0]
        known = [part[0]["imagenet_accuracy"]] if published else clean
        noisy = [row["final_accuracy"] for row in part if row["noise_level"] > 0]
        if known and noisy:
            points[network] = (100 * interval(known).mean, 100 * interval(noisy).mean)
    return points


FIGURES: dict[str, tuple[str, str, Callable[[Data], Canvas]]] = {
    "accuracy": (
        "Test accuracy against noise level",
        "Solid: after the last epoch, with the 95 % interval over the seeds; dotted: the best epoch's.", accuracy,
    ),
    "belts": (
        "Test accuracy over training",
        "Mean over the noise levels above zero, and its 95 % interval over them (the spread is that of the levels).",
        belts,
    ),
    "drop": (
        "Accuracy lost between peak and end",
        "Peak less final test accuracy, with the 95 % interval over the seeds.", drop,
    ),
    "spread": (
        "Mean and deviation over the noise levels",
        "Final test accuracy: mean over the levels ± standard deviation; dots: the levels.", spread,
    ),
    "mentor": (
        "Mentor weights against loss difference",
        "Last epoch, all seeds: where the losses of right and wrong labels lie, and the mean weight they get. The "
        "densities have one scale, the highest is 1; the outer bins hold all that is beyond, and are cut off at 1.", mentor,
    ),
    "utilisation": (
        "Data utilisation", "Mean weight of the examples in each epoch; dotted: the share of right labels.", utilisation,
    ),
}  # fmt: skip
TRANSFER = (
    "What a network's accuracy elsewhere says",
    "A point per network: mean final accuracy over the noisy sets, against that on ImageNet or without noise; Pearson's "
    "r with its 95 % interval.",
)
