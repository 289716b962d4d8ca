"""Figures with a row per series and accuracy from left to right."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from training.study.estimates import accuracy_estimate
from training.study.plot_panels import FigureData, MissingDataError, in_lines, panels
from training.study.plot_style import LINE, noise_style, series_styles
from training.study.significance import deviation, mean_interval
from training.study.summary_tables import grouped

ROW = 0.17  # inches, height of a line of marks
MARGINS = 0.6  # inches, for title and axis


def accuracy_at_one_level(data: FigureData) -> Canvas:
    """Draw final accuracy with its interval, and best accuracy: a panel per color, a row per series."""
    styles, [level] = series_styles(data.series()), data.levels()
    titles = [f"{color} noise, {100 * level:g} %" for color in data.colors()]
    lines = sum(name.count("\n") + 1 for name in _names(data))
    drawn = panels(data.width, titles, height=MARGINS + 0.1 * len(styles) + LINE * lines)
    for axis, color in zip(drawn.axes, data.colors(), strict=True):
        for y, (series, style) in enumerate(styles.items()):
            rows, paint = data.select(color=color, series=series), style["color"]
            final = accuracy_estimate(rows, "final_accuracy")
            if final is None:
                continue
            if final.low is not None and final.high is not None:
                axis.plot([max(0, final.low), min(100, final.high)], [y, y], color=paint)
            axis.plot(final.mean, y, **style)
            best = 100 * mean_interval([row["best_accuracy"] for row in rows]).mean
            axis.plot(best, y, color=paint, marker="|", markersize=8)
    _name_rows(drawn.axes[0], _names(data))
    drawn.label("test accuracy, %", "")
    drawn.legend([
        Line2D([], [], color="0.3", linestyle="none", marker="o", label="last epoch"),
        Line2D([], [], color="0.3", linestyle="none", marker="|", markersize=8, label="best epoch"),
    ])  # fmt: skip
    return drawn.canvas


def spread(data: FigureData) -> Canvas:
    """Draw the mean and standard deviation of final accuracy over the noise levels: a row per series.

    Only the levels and seeds count that all series of a color have.
    """
    rows_of = {color: data.comparable(color) for color in data.colors()}
    colors = [color for color, rows in rows_of.items() if len({row["noise_level"] for row in rows}) > 1]
    if not colors:
        raise MissingDataError("needs two noise levels that all methods have with the same seeds")
    lines = max(1 + len(colors), *(name.count("\n") + 1 for name in _names(data)))
    drawn = panels(data.width, [""], height=MARGINS + ROW * lines * len(data.series()))
    [axis] = drawn.axes
    for number, color in enumerate(colors):
        paint, _, marker = noise_style(color)
        shift = (number - (len(colors) - 1) / 2) / (1 + len(colors))
        for y, series in enumerate(data.series()):
            levels = grouped([row for row in rows_of[color] if row["series"] == series], "noise_level")
            means = [100 * mean_interval([row["final_accuracy"] for row in rows]).mean for _, rows in levels]
            if not means:
                continue
            axis.errorbar(
                mean_interval(means).mean, y + shift, xerr=deviation(means) or 0, color=paint, capsize=2,
                marker=marker, linestyle="none", label=color,
            )  # fmt: skip
            below = y + shift + 0.35 / (1 + len(colors))
            axis.plot(means, [below] * len(means), "|", color=paint, markersize=4, markeredgewidth=0.6)
    _name_rows(axis, _names(data))
    drawn.label("final test accuracy, %", "")
    drawn.legend()
    return drawn.canvas


def _names(data: FigureData) -> list[str]:
    return [in_lines(str(series), data.width / 3) for series in data.series()]


def _name_rows(axis: Axes, names: Sequence[str]) -> None:
    """Write a name beside each row, the first at the top."""
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.grid(axis="y", visible=False)
