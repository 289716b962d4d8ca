"""Figures with a row per series and accuracy from left to right."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from training.study.estimates import accuracy_estimate
from training.study.plot_panels import MARKERS, FigureData, MissingDataError, legend, panels
from training.study.plot_style import noise_style, series_styles
from training.study.series import Series
from training.study.significance import deviation, mean_interval
from training.study.summary_tables import grouped

ROW = 0.3  # inches


def accuracy_at_one_level(data: FigureData) -> Canvas:
    """Draw final accuracy with its interval, and best accuracy: a panel per color, a row per series."""
    canvas, [axes] = panels(1, len(data.colors()), beside=1.6)
    styles = series_styles(data.series())
    for axis, color in zip(axes, data.colors(), strict=True):
        for y, (series, style) in enumerate(styles.items()):
            rows = data.select(color=color, series=series)
            final = accuracy_estimate(rows, "final_accuracy")
            if final is None:
                continue
            paint = style["color"]
            if final.low is not None and final.high is not None:
                axis.plot([max(0, final.low), min(100, final.high)], [y, y], color=paint, linewidth=1)
            axis.plot(final.mean, y, color=paint, marker=style["marker"], linestyle="none")
            best = 100 * mean_interval([row["best_accuracy"] for row in rows]).mean
            axis.plot(best, y, color=paint, marker="|", markersize=10, linestyle="none")
        axis.set_title(f"{color} noise, {100 * data.rows[0]['noise_level']:g} %")
        axis.set_xlabel("test accuracy, %")
    _name_rows(axes[0], data.series())
    axes[-1].plot([], [], "o", color="0.3", label="last epoch")
    axes[-1].plot([], [], "|", color="0.3", markersize=10, label="best epoch")
    canvas.set_figheight(1.2 + ROW * len(styles))
    legend(canvas, axes)
    return canvas


def spread(data: FigureData) -> Canvas:
    """Draw the mean and standard deviation of final accuracy over the noise levels: a row per series."""
    if len({row["noise_level"] for row in data.rows}) < 2:
        raise MissingDataError("needs two noise levels")
    canvas, [[axis]] = panels(1, 1)
    for number, color in enumerate(data.colors()):
        paint, _ = noise_style(color)
        shift = 0.3 * (number - (len(data.colors()) - 1) / 2)
        for y, series in enumerate(data.series()):
            levels = grouped(data.select(color=color, series=series), "noise_level")
            means = [100 * mean_interval([row["final_accuracy"] for row in rows]).mean for _, rows in levels]
            if not means:
                continue
            axis.errorbar(
                mean_interval(means).mean, y + shift, xerr=deviation(means) or 0, color=paint, capsize=3,
                marker=MARKERS[number], linestyle="none", label=color,
            )  # fmt: skip
            axis.plot(means, [y + shift] * len(means), "|", color=paint, alpha=0.6, markersize=5)
    axis.set_xlabel("final test accuracy, %")
    _name_rows(axis, data.series())
    canvas.set_figheight(1.0 + (0.15 + ROW * len(data.colors()) / 2) * len(data.series()))
    legend(canvas, [axis])
    return canvas


def _name_rows(axis: Axes, series: Sequence[Series]) -> None:
    """Write the name of each series beside its row, the first at the top."""
    axis.set_yticks(range(len(series)), map(str, series))
    axis.set_ylim(len(series) - 0.5, -0.5)
    axis.grid(axis="y", visible=False)
