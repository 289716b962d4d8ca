"""The figures of a study, after those of the MentorMix paper, for pages (SVG, PNG) and for papers (PDF)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib.style
import pyarrow as pa
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from common.atomic_file import replacing
from training.config import METHODS
from training.study.dot_figures import accuracy_at_one_level, spread
from training.study.estimates import accuracy_estimate
from training.study.figure_captions import CAPTIONS
from training.study.mentor_figures import mentor, utilization
from training.study.plot_panels import (
    MARKERS,
    NARROW,
    WIDE,
    FigureData,
    MissingDataError,
    band,
    clip_to_percent,
    panels,
)  # fmt: skip
from training.study.plot_style import COLUMN, PAGE, STYLE, noise_style, series_styles
from training.study.series import settings_note, with_series
from training.study.significance import MeanInterval, correlation, mean_interval
from training.study.summary_tables import Row, finished, grouped, with_shared_cells

DOTS_PER_INCH = 200  # of PNG files
# without times and versions, so that equal results give equal files
METADATA: dict[str, Any] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@dataclass(frozen=True)
class StudyFigure:
    """A figure, whose files are NAME.svg, .png and .pdf at the width of a page, and NAME-column.svg and .pdf."""

    name: str
    title: str
    caption: str
    folder: Path

    def path(self, ending: str, *, column: bool = False) -> Path:
        """Return the path of a file."""
        return self.folder / f"{self.name}{'-column' if column else ''}.{ending}"


def draw_all(results: pa.Table, curves: pa.Table, folder: Path) -> tuple[list[StudyFigure], list[str]]:
    """Draw all figures for which there are data; return them, and the reasons for the missing ones.

    Each figure is drawn once per network; if there are several, file names and titles contain them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    by_run = dict(grouped(curves.to_pylist(), "run"))
    rows = finished(results)
    by_network = list(grouped(with_series(rows), "network"))
    several = len(by_network) > 1
    wanted = [
        (name, f"-{network}".replace("/", "-") if several else "", f" ({network})" if several else "", part)
        for network, part in by_network
        for name in FIGURES
    ]
    drawn, missing = [], []
    for name, suffix, addition, part in [*wanted, ("transfer", "", "", rows)]:
        title, caption = CAPTIONS[name]
        data = FigureData(part, by_run)
        try:
            _draw(name, data, folder, f"{name}{suffix}")
        except MissingDataError as reason:
            missing.append(f"{name}{suffix}: {reason}")
            continue
        text = caption(data) + (f" {settings_note(data.series())}" if name in FIGURES else "")
        drawn.append(StudyFigure(f"{name}{suffix}", f"{title}{addition}", text.rstrip(), folder))
    return drawn, missing


def _draw(name: str, data: FigureData, folder: Path, file_name: str) -> None:
    """Write the files of a figure at both widths."""
    draw = FIGURES.get(name, transfer)
    with matplotlib.style.context(["default", STYLE]):  # whatever the user's matplotlibrc says
        for width, suffix, endings in (
            (PAGE, "", ("png", "svg", "pdf")),
            (COLUMN, "-column", ("svg", "pdf")),
        ):
            canvas = draw(replace(data, width=width))
            for ending in endings:
                with replacing(folder / f"{file_name}{suffix}.{ending}") as path:
                    canvas.savefig(path, format=ending, dpi=DOTS_PER_INCH, metadata=METADATA[ending])
                # The other files keep the layout of the first. With "none", matplotlib would draw each of them twice.
                canvas.set_layout_engine(None)


def accuracy(data: FigureData) -> Canvas:
    """Draw final and best accuracy against noise level: a panel per color, a line per series.

    With many series only the final accuracy is drawn.
    """
    if len(data.levels()) == 1:
        return accuracy_at_one_level(data)
    titles = [f"{color} noise" for color in data.colors()]
    drawn = panels(data.width, titles, least=WIDE if data.is_crowded() else NARROW, height=2.1)
    for axis, color in zip(drawn.axes, data.colors(), strict=True):
        for series, style in series_styles(data.series()).items():
            levels = list(grouped(data.select(color=color, series=series), "noise_level"))
            if not levels:
                continue
            x, paint = [100 * level for level, _ in levels], style["color"]
            final = [e for _, rows in levels if (e := accuracy_estimate(rows, "final_accuracy"))]
            axis.plot(x, [estimate.mean for estimate in final], label=str(series), **style)
            if not data.is_crowded():
                band(axis, x, [(estimate.low, estimate.high) for estimate in final], paint)
                best = [
                    100 * mean_interval([row["best_accuracy"] for row in rows]).mean for _, rows in levels
                ]
                axis.plot(x, best, color=paint, linestyle=":", linewidth=0.8)
    drawn.label("wrong labels, %", "test accuracy, %")
    clip_to_percent(drawn.axes[0])
    drawn.legend(
        [] if data.is_crowded() else [Line2D([], [], color="0.3", linestyle=":", label="best epoch")]
    )
    return drawn.canvas


def belts(data: FigureData) -> Canvas:
    """Draw test accuracy over training: per color the mean over the noise levels and its interval or range.

    Only the levels and seeds count that all series of a color have.
    """
    found, one_epoch = False, False
    rows_of = {color: data.comparable(color) for color in data.colors()}
    drawn = panels(data.width, list(map(str, data.series())))
    for axis, series in zip(drawn.axes, data.series(), strict=True):
        for color in data.colors():
            noisy = [row for row in rows_of[color] if row["series"] == series and row["noise_level"] > 0]
            per_level = [_mean_curve(data, rows) for _, rows in grouped(noisy, "noise_level")]
            shared = sorted(set.intersection(*map(set, per_level))) if len(per_level) > 1 else []
            if not shared:
                continue
            if len(shared) < 2:
                one_epoch = True
                continue
            found, (paint, style, _) = True, noise_style(color)
            intervals = [mean_interval([curve[epoch] for curve in per_level]) for epoch in shared]
            means = [100 * interval.mean for interval in intervals]
            axis.plot(shared, means, color=paint, linestyle=style, label=color)
            band(axis, shared, [_belt([curve[epoch] for curve in per_level]) for epoch in shared], paint)
    drawn.axes[0].xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if not found:
        raise MissingDataError(
            "test accuracy was measured at a single epoch; measure it more often (evaluate_every)"
            if one_epoch
            else "needs two noise levels above 0 that all methods have with the same seeds"
        )
    drawn.label("epoch", "test accuracy, %")
    clip_to_percent(drawn.axes[0])
    drawn.legend()
    return drawn.canvas


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
    if len(data.levels()) < 2:
        raise MissingDataError("needs two noise levels; the figure of accuracy shows the drop at one")
    drawn = panels(data.width, list(map(str, data.series())))
    for axis, series in zip(drawn.axes, data.series(), strict=True):
        for color in data.colors():
            levels = list(grouped(data.select(color=color, series=series), "noise_level"))
            if not levels:
                continue
            x, (paint, style, marker) = [100 * level for level, _ in levels], noise_style(color)
            intervals = [
                mean_interval([r["best_accuracy"] - r["final_accuracy"] for r in rows]) for _, rows in levels
            ]
            means = [100 * interval.mean for interval in intervals]
            axis.plot(x, means, color=paint, linestyle=style, marker=marker, label=color)
            band(axis, x, [_ends(interval) for interval in intervals], paint)
    drawn.label("wrong labels, %", "drop, points")
    drawn.legend()
    return drawn.canvas


def transfer(data: FigureData) -> Canvas:
    """Draw ImageNet accuracy, or accuracy without noise, against accuracy on noisy sets: a point per network.

    Only the levels and seeds count that all networks have.
    """
    networks = list(dict.fromkeys(row["network"] for row in data.rows))
    if len(networks) < 3:
        raise MissingDataError("needs three networks")
    method = min((row["method"] for row in data.rows), key=METHODS.index)
    by_setting = dict(grouped(data.select(method=method), "setting"))
    styles: dict[str, Any] = {}
    for color in data.colors():  # filled, then hollow, for readers without color
        paint = noise_style(color)[0]
        styles[color] = {"color": paint, "linestyle": "none", "markerfacecolor": "white" if styles else paint}
    titles = {setting: [f"{method}, {setting}"] for setting in by_setting}
    published = all(row["imagenet_accuracy"] is not None for row in data.select(method=method))
    points = {
        (setting, color): _transfer_points(rows, color, published)
        for setting, rows in by_setting.items()
        for color in data.colors()
    }
    if not any(points.values()):
        raise MissingDataError("needs a noise level above 0 that all networks have with the same seeds")
    for (setting, color), of in points.items():
        correlated = correlation(*zip(*of.values(), strict=True)) if of else None
        titles[setting].append(f"{color}: {correlated or 'too few networks'}")
    drawn = panels(data.width, ["\n".join(lines) for lines in titles.values()], least=WIDE, height=2.2)
    for (setting, color), of in points.items():
        axis = drawn.axes[list(by_setting).index(setting)]
        for network, (x, y) in of.items():
            axis.plot(x, y, marker=MARKERS[networks.index(network) % len(MARKERS)], **styles[color])
    drawn.label(
        "ImageNet top-1, %" if published else "accuracy without noise, %", "accuracy on noisy sets, %"
    )
    drawn.legend([
        *(Line2D([], [], marker="o", label=color, **style) for color, style in styles.items()),
        *(Line2D([], [], color="0.3", linestyle="none", marker=MARKERS[number % len(MARKERS)],
                 label=network.partition("/")[2] or network) for number, network in enumerate(networks)),
    ])  # fmt: skip
    return drawn.canvas


def _transfer_points(rows: list[Row], color: str, published: bool) -> dict[str, tuple[float, float]]:
    """Return for each network its accuracy on ImageNet or without noise, and on noisy sets, in percent."""
    rows = [row for row in rows if row["color"] == color]
    noisy, clean = (
        {
            network: 100 * mean_interval([row["final_accuracy"] for row in part]).mean
            for network, part in grouped(wanted, "network")
        }
        for wanted in (
            with_shared_cells([row for row in rows if row["noise_level"] > 0], "network"),
            [row for row in rows if row["noise_level"] == 0],
        )
    )
    reference = {row["network"]: 100 * row["imagenet_accuracy"] for row in rows} if published else clean
    return {network: (reference[network], y) for network, y in noisy.items() if network in reference}


FIGURES: dict[str, Callable[[FigureData], Canvas]] = {
    "accuracy": accuracy, "belts": belts, "drop": drop, "spread": spread, "mentor": mentor, "utilization": utilization,
}  # fmt: skip
