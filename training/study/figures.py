"""The figures of a study, after those of the paper, as SVG and PNG."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import pyarrow as pa
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from training.study.mentor_figures import mentor, utilization
from training.study.plot_panels import MARKERS, PANEL, FigureData, MissingDataError, band, legend, panels
from training.study.plot_style import METHOD, STYLE, noise_look
from training.study.significance import correlation, deviation, mean_interval
from training.study.summary_tables import Row, finished, grouped


@dataclass(frozen=True)
class StudyFigure:
    """One figure that was drawn."""

    name: str
    title: str
    caption: str
    svg: Path
    png: Path


def draw_all(results: pa.Table, curves: pa.Table, folder: Path) -> tuple[list[StudyFigure], list[str]]:
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
                    canvas = draw(FigureData(part, by_run))
                    title = f"{title} ({network}, {setting})" if several else title
                    drawn.append(_save(canvas, folder, f"{name}{of}", title, caption))
            except MissingDataError as why:
                absent.append(f"{name}{of}: {why}")
    try:
        with matplotlib.rc_context(STYLE):
            drawn.append(_save(transfer(FigureData(rows, by_run)), folder, "transfer", *TRANSFER))
    except MissingDataError as why:
        absent.append(f"transfer: {why}")
    return drawn, absent


def _save(canvas: Canvas, folder: Path, name: str, title: str, caption: str) -> StudyFigure:
    svg, png = folder / f"{name}.svg", folder / f"{name}.png"
    canvas.savefig(png, dpi=150, metadata={"Software": None})
    canvas.set_layout_engine("none")  # it is laid out now, and that is half of the time
    canvas.savefig(svg, metadata={"Date": None})
    return StudyFigure(name, title, caption, svg, png)


def accuracy(data: FigureData) -> Canvas:
    """Final and peak accuracy against noise level; a panel per color, a line per method."""
    canvas, [axes] = panels(1, len(data.colors()), beside=1.6)
    for axis, color in zip(axes, data.colors(), strict=True):
        for method in data.methods():
            levels = list(grouped(data.select(color=color, method=method), "noise_level"))
            if not levels:
                continue
            x, (paint, marker) = [100 * level for level, _ in levels], METHOD[method]
            final = [mean_interval([row["final_accuracy"] for row in rows]) for _, rows in levels]
            peak = [100 * mean_interval([row["best_accuracy"] for row in rows]).mean for _, rows in levels]
            axis.plot(x, [100 * one.mean for one in final], color=paint, marker=marker, label=method)
            band(axis, x, final, paint)
            axis.plot(x, peak, color=paint, linestyle=":", marker=marker, markerfacecolor="none", alpha=0.8)
        axis.set_title(f"{color} noise")
        axis.set_xlabel("wrong labels, %")
    axes[0].set_ylabel("test accuracy, %")
    axes[-1].plot([], [], color="0.3", label="final")
    axes[-1].plot([], [], color="0.3", linestyle=":", label="peak")
    legend(canvas, axes)
    return canvas


def belts(data: FigureData) -> Canvas:
    """Test accuracy over training, a belt per color: the mean over the noise levels and its 95 % interval."""
    methods, drawn = data.methods(), False
    canvas, [axes] = panels(1, len(methods))
    for axis, method in zip(axes, methods, strict=True):
        for color in data.colors():
            noisy = [row for row in data.select(color=color, method=method) if row["noise_level"] > 0]
            per_level = [_mean_curve(data, rows) for _, rows in grouped(noisy, "noise_level")]
            shared = sorted(set.intersection(*map(set, per_level))) if len(per_level) > 2 else []
            if not shared:
                continue
            drawn, (paint, style) = True, noise_look(color)
            found = [mean_interval([curve[epoch] for curve in per_level]) for epoch in shared]
            axis.plot(shared, [100 * one.mean for one in found], color=paint, linestyle=style, label=color)
            band(axis, shared, found, paint)
        axis.set_title(method)
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if not drawn:
        raise MissingDataError("takes three noise levels above 0 of one color and method")
    axes[0].set_ylabel("test accuracy, %")
    axes[0].set_ylim(max(0.0, axes[0].get_ylim()[0]), min(100.0, axes[0].get_ylim()[1]))
    legend(canvas, axes)
    return canvas


def _mean_curve(data: FigureData, rows: list[Row]) -> dict[int, float]:
    """Test accuracy by epoch, the mean of the runs that have it."""
    points: dict[int, list[float]] = {}
    for row in rows:
        for epoch in data.curves.get(row["run"], []):
            if epoch["test_accuracy"] is not None:
                points.setdefault(epoch["epoch"], []).append(epoch["test_accuracy"])
    return {epoch: sum(values) / len(values) for epoch, values in points.items()}


def drop(data: FigureData) -> Canvas:
    """Peak less final accuracy against noise level; a panel per method, a line per color."""
    canvas, [axes] = panels(1, len(data.methods()))
    for axis, method in zip(axes, data.methods(), strict=True):
        for color in data.colors():
            levels = list(grouped(data.select(color=color, method=method), "noise_level"))
            if not levels:
                continue
            x, (paint, style) = [100 * level for level, _ in levels], noise_look(color)
            found = [
                mean_interval([r["best_accuracy"] - r["final_accuracy"] for r in rows]) for _, rows in levels
            ]
            axis.plot(
                x, [100 * one.mean for one in found], color=paint, linestyle=style, marker="o", label=color
            )
            band(axis, x, found, paint)
        axis.set_title(method)
        axis.set_xlabel("wrong labels, %")
    axes[0].set_ylabel("peak − final, points")
    legend(canvas, axes)
    return canvas


def spread(data: FigureData) -> Canvas:
    """Final accuracy of each method: mean and standard deviation over the noise levels, by color."""
    if len({row["noise_level"] for row in data.rows}) < 2:
        raise MissingDataError("takes two noise levels")
    methods = data.methods()
    canvas, [[axis]] = panels(1, 1)
    canvas.set_size_inches(1.6 + 1.1 * max(3, len(methods)), 1.15 * PANEL[1])
    for number, color in enumerate(data.colors()):
        paint, _ = noise_look(color)
        shift = 0.16 * (number - (len(data.colors()) - 1) / 2)
        for place, method in enumerate(methods):
            levels = grouped(data.select(color=color, method=method), "noise_level")
            means = [100 * mean_interval([row["final_accuracy"] for row in rows]).mean for _, rows in levels]
            if not means:
                continue
            axis.errorbar(
                place + shift, mean_interval(means).mean, deviation(means) or 0, color=paint, capsize=4,
                marker=MARKERS[number], linestyle="none", label=color,
            )  # fmt: skip
            axis.plot([place + shift + 0.06] * len(means), means, ".", color=paint, alpha=0.4, markersize=4)
    axis.set_xticks(range(len(methods)), methods)
    axis.set_xlim(-0.5, len(methods) - 0.5)
    axis.set_ylabel("final test accuracy, %")
    axis.grid(axis="x", visible=False)
    legend(canvas, [axis])
    return canvas


def transfer(data: FigureData) -> Canvas:
    """Accuracy without noise, or on ImageNet where it is published, against noisy accuracy; a point per network."""
    settings = list(dict.fromkeys(row["setting"] for row in data.rows))
    if len({row["network"] for row in data.rows}) < 3:
        raise MissingDataError("takes three networks")
    method = data.methods()[0]
    networks = list(dict.fromkeys(row["network"] for row in data.rows))
    canvas, [axes] = panels(1, len(settings), beside=2.2, sharex=False)
    for axis, setting in zip(axes, settings, strict=True):
        rows = [row for row in data.rows if row["setting"] == setting and row["method"] == method]
        published = all(row["imagenet_accuracy"] is not None for row in rows)
        told = []
        for color in data.colors():
            points, (paint, _) = _transfer_points(rows, color, published), noise_look(color)
            for network, (x, y) in points.items():
                marker = MARKERS[networks.index(network) % len(MARKERS)]
                axis.plot(x, y, marker, color=paint)
            found = correlation(*zip(*points.values(), strict=True)) if points else None
            told.append(Line2D([], [], color=paint, lw=4, label=f"{color}: {found or 'too few networks'}"))
        axis.set_xlabel("ImageNet top-1, %" if published else "test accuracy without noise, %")
        axis.set_title(f"{method}, {setting}")
        axis.legend(handles=told, loc="lower left", bbox_to_anchor=(0, 1.1), fontsize=8, borderaxespad=0)
    for number, network in enumerate(networks):
        marker = MARKERS[number % len(MARKERS)]
        axes[0].plot([], [], marker, color="0.3", label=network.partition("/")[2] or network)
    axes[0].set_ylabel("mean final accuracy\non noisy sets, %")
    legend(canvas, axes)
    return canvas


def _transfer_points(rows: list[Row], color: str, published: bool) -> dict[str, tuple[float, float]]:
    """For each network what it reaches elsewhere and on the noisy sets, in percent."""
    points = {}
    for network, part in grouped([row for row in rows if row["color"] == color], "network"):
        clean = [row["final_accuracy"] for row in part if row["noise_level"] == 0]
        known = [part[0]["imagenet_accuracy"]] if published else clean
        noisy = [row["final_accuracy"] for row in part if row["noise_level"] > 0]
        if known and noisy:
            points[network] = (100 * mean_interval(known).mean, 100 * mean_interval(noisy).mean)
    return points


FIGURES: dict[str, tuple[str, str, Callable[[FigureData], Canvas]]] = {
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
    "utilization": (
        "Data utilization", "Mean weight of the examples in each epoch; dotted: the share of right labels.", utilization,
    ),
}  # fmt: skip
TRANSFER = (
    "What a network's accuracy elsewhere says",
    "A point per network: mean final accuracy over the noisy sets, against that on ImageNet or without noise; Pearson's "
    "r with its 95 % interval.",
)
