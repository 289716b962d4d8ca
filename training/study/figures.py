"""The figures of a study, after those of the MentorMix paper, as SVG and PNG."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from training.config import METHODS
from training.study.dot_figures import accuracy_at_one_level, spread
from training.study.estimates import accuracy_estimate
from training.study.figure_captions import CAPTIONS
from training.study.mentor_figures import mentor, utilization
from training.study.plot_panels import MARKERS, FigureData, MissingDataError, band, legend, panels
from training.study.plot_style import STYLE, noise_style, series_styles
from training.study.series import settings_note, with_series
from training.study.significance import MeanInterval, correlation, mean_interval
from training.study.summary_tables import Row, finished, grouped


@dataclass(frozen=True)
class StudyFigure:
    """A figure with the paths of its files."""

    name: str
    title: str
    caption: str
    svg: Path
    png: Path


def draw_all(results: pa.Table, curves: pa.Table, folder: Path) -> tuple[list[StudyFigure], list[str]]:
    """Draw all figures for which there are data; return them, and the reasons for the missing ones.

    Each figure is drawn once per network; if there are several, file names and titles contain them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    by_run = dict(grouped(curves.to_pylist(), "run"))
    rows = with_series(finished(results))
    parts = list(grouped(rows, "network"))
    drawn, missing = [], []
    for network, part in parts:
        several = len(parts) > 1
        suffix = f"-{network}".replace("/", "-") if several else ""
        data = FigureData(part, by_run)
        for name, draw in FIGURES.items():
            title, caption = CAPTIONS[name]
            try:
                with matplotlib.rc_context(STYLE):
                    canvas = draw(data)
                    title = f"{title} ({network})" if several else title
                    text = f"{caption(data)} {settings_note(data.series())}".rstrip()
                    drawn.append(_save(canvas, folder, f"{name}{suffix}", title, text))
            except MissingDataError as reason:
                missing.append(f"{name}{suffix}: {reason}")
    try:
        with matplotlib.rc_context(STYLE):
            data = FigureData(finished(results), by_run)  # with all settings of shared runs
            title, caption = CAPTIONS["transfer"]
            drawn.append(_save(transfer(data), folder, "transfer", title, caption(data)))
    except MissingDataError as reason:
        missing.append(f"transfer: {reason}")
    return drawn, missing


def _save(canvas: Canvas, folder: Path, name: str, title: str, caption: str) -> StudyFigure:
    svg, png = folder / f"{name}.svg", folder / f"{name}.png"
    canvas.savefig(png, dpi=150, metadata={"Software": None})
    canvas.set_layout_engine("none")  # the layout of the first file is kept, which halves the time
    canvas.savefig(svg, metadata={"Date": None})
    return StudyFigure(name, title, caption, svg, png)


def _clip_to_percent(axis: Axes) -> None:
    """Keep the accuracy axis within 0 to 100: t intervals of few seeds are wider."""
    low, high = axis.get_ylim()
    axis.set_ylim(max(0.0, low), min(100.0, high))


def accuracy(data: FigureData) -> Canvas:
    """Draw final and best accuracy against noise level: a panel per color, a line per series."""
    if len({row["noise_level"] for row in data.rows}) == 1:
        return accuracy_at_one_level(data)
    canvas, [axes] = panels(1, len(data.colors()), beside=1.6)
    styles = series_styles(data.series())
    for axis, color in zip(axes, data.colors(), strict=True):
        for series, style in styles.items():
            levels = list(grouped(data.select(color=color, series=series), "noise_level"))
            if not levels:
                continue
            x, paint = [100 * level for level, _ in levels], style["color"]
            final = [e for _, rows in levels if (e := accuracy_estimate(rows, "final_accuracy"))]
            best = [100 * mean_interval([row["best_accuracy"] for row in rows]).mean for _, rows in levels]
            axis.plot(x, [estimate.mean for estimate in final], label=str(series), **style)
            band(axis, x, [(estimate.low, estimate.high) for estimate in final], paint)
            axis.plot(x, best, color=paint, linestyle=":", linewidth=1)
        axis.set_title(f"{color} noise")
        axis.set_xlabel("wrong labels, %")
    axes[0].set_ylabel("test accuracy, %")
    _clip_to_percent(axes[0])
    axes[-1].plot([], [], color="0.3", label="last epoch")
    axes[-1].plot([], [], color="0.3", linestyle=":", label="best epoch")
    legend(canvas, axes)
    return canvas


def belts(data: FigureData) -> Canvas:
    """Draw test accuracy over training: per color the mean over the noise levels and its interval or range."""
    drawn, one_epoch = False, False
    canvas, [axes] = panels(1, len(data.series()))
    for axis, series in zip(axes, data.series(), strict=True):
        for color in data.colors():
            noisy = [row for row in data.select(color=color, series=series) if row["noise_level"] > 0]
            per_level = [_mean_curve(data, rows) for _, rows in grouped(noisy, "noise_level")]
            shared = sorted(set.intersection(*map(set, per_level))) if len(per_level) > 1 else []
            if not shared:
                continue
            if len(shared) < 2:
                one_epoch = True
                continue
            drawn, (paint, style) = True, noise_style(color)
            intervals = [mean_interval([curve[epoch] for curve in per_level]) for epoch in shared]
            axis.plot(
                shared,
                [100 * interval.mean for interval in intervals],
                color=paint,
                linestyle=style,
                label=color,
            )
            band(axis, shared, [_belt([curve[epoch] for curve in per_level]) for epoch in shared], paint)
        axis.set_title(str(series))
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if not drawn:
        raise MissingDataError(
            "test accuracy was measured at a single epoch; measure it more often (evaluate_every)"
            if one_epoch
            else "needs two noise levels above 0 of one color and method"
        )
    axes[0].set_ylabel("test accuracy, %")
    _clip_to_percent(axes[0])
    legend(canvas, axes)
    return canvas


def _belt(values: list[float]) -> tuple[float | None, float | None]:
    """Return the 95 % interval of the mean over at least three levels, or the range of two, in percent."""
    if len(values) < 3:
        return 100 * min(values), 100 * max(values)
    return _ends(mean_interval(values))


def _ends(interval: MeanInterval) -> tuple[float | None, float | None]:
    """Return the ends of an interval in percent."""
    if interval.half is None:
        return None, None
    return 100 * (interval.mean - interval.half), 100 * (interval.mean + interval.half)


def _mean_curve(data: FigureData, rows: list[Row]) -> dict[int, float]:
    """Return test accuracy by epoch, the mean over the runs that have it."""
    points: dict[int, list[float]] = {}
    for row in rows:
        for epoch in data.curves.get(row["run"], []):
            if epoch["test_accuracy"] is not None:
                points.setdefault(epoch["epoch"], []).append(epoch["test_accuracy"])
    return {epoch: sum(values) / len(values) for epoch, values in points.items()}


def drop(data: FigureData) -> Canvas:
    """Draw best minus final accuracy against noise level: a panel per series, a line per color."""
    canvas, [axes] = panels(1, len(data.series()))
    for axis, series in zip(axes, data.series(), strict=True):
        for color in data.colors():
            levels = list(grouped(data.select(color=color, series=series), "noise_level"))
            if not levels:
                continue
            x, (paint, style) = [100 * level for level, _ in levels], noise_style(color)
            intervals = [
                mean_interval([r["best_accuracy"] - r["final_accuracy"] for r in rows]) for _, rows in levels
            ]
            axis.plot(
                x,
                [100 * interval.mean for interval in intervals],
                color=paint,
                linestyle=style,
                marker="o",
                label=color,
            )
            band(axis, x, [_ends(interval) for interval in intervals], paint)
        axis.set_title(str(series))
        axis.set_xlabel("wrong labels, %")
    axes[0].set_ylabel("best − final accuracy, points")
    legend(canvas, axes)
    return canvas


def transfer(data: FigureData) -> Canvas:
    """Draw ImageNet accuracy, or accuracy without noise, against accuracy on noisy sets: a point per network."""
    if len({row["network"] for row in data.rows}) < 3:
        raise MissingDataError("needs three networks")
    method = min((row["method"] for row in data.rows), key=METHODS.index)
    settings = list(dict.fromkeys(row["setting"] for row in data.select(method=method)))
    networks = list(dict.fromkeys(row["network"] for row in data.rows))
    canvas, [axes] = panels(1, len(settings), beside=2.2, sharex=False)
    for axis, setting in zip(axes, settings, strict=True):
        rows = [row for row in data.rows if row["setting"] == setting and row["method"] == method]
        published = all(row["imagenet_accuracy"] is not None for row in rows)
        entries = []
        for color in data.colors():
            points, (paint, _) = _transfer_points(rows, color, published), noise_style(color)
            for network, (x, y) in points.items():
                marker = MARKERS[networks.index(network) % len(MARKERS)]
                axis.plot(x, y, marker, color=paint)
            correlated = correlation(*zip(*points.values(), strict=True)) if points else None
            entries.append(
                Line2D([], [], color=paint, lw=4, label=f"{color}: {correlated or 'too few networks'}")
            )
        axis.set_xlabel("ImageNet top-1, %" if published else "test accuracy without noise, %")
        axis.set_title(f"{method}, {setting}")
        axis.legend(handles=entries, loc="lower left", bbox_to_anchor=(0, 1.1), fontsize=8, borderaxespad=0)
    for number, network in enumerate(networks):
        marker = MARKERS[number % len(MARKERS)]
        axes[0].plot([], [], marker, color="0.3", label=network.partition("/")[2] or network)
    axes[0].set_ylabel("mean final accuracy\non noisy sets, %")
    legend(canvas, axes)
    return canvas


def _transfer_points(rows: list[Row], color: str, published: bool) -> dict[str, tuple[float, float]]:
    """Return for each network its accuracy on ImageNet or without noise, and on noisy sets, in percent."""
    points = {}
    for network, part in grouped([row for row in rows if row["color"] == color], "network"):
        clean = [row["final_accuracy"] for row in part if row["noise_level"] == 0]
        reference = [part[0]["imagenet_accuracy"]] if published else clean
        noisy = [row["final_accuracy"] for row in part if row["noise_level"] > 0]
        if reference and noisy:
            points[network] = (100 * mean_interval(reference).mean, 100 * mean_interval(noisy).mean)
    return points


FIGURES: dict[str, Callable[[FigureData], Canvas]] = {
    "accuracy": accuracy, "belts": belts, "drop": drop, "spread": spread, "mentor": mentor, "utilization": utilization,
}  # fmt: skip
