"""Shared parts of the figures of a study: their data, panels, legends and interval bands."""

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from training.study.plot_style import CHARACTER, LINE, PAGE
from training.study.series import Series, all_series
from training.study.summary_tables import Row, with_shared_cells

MARKERS = "os^Dv<>ph*"
SHOWN_LEVEL = 0.4  # figures of a single level show the nearest level
MOST_WITH_BANDS = 6  # series in a panel
NARROW, WIDE = 1.5, 2.2  # inches, least width of a panel


class MissingDataError(Exception):
    """The study lacks the data of a figure; the message says which."""


@dataclass(frozen=True)
class FigureData:
    """The finished runs of one network with their series, the epochs of all runs, and the figure's width in inches."""

    rows: list[Row]
    curves: dict[str, list[Row]]
    width: float = PAGE

    def colors(self) -> list[str]:
        """Return the colors of noise, in the order of the rows."""
        return list(dict.fromkeys(row["color"] for row in self.rows))

    def series(self) -> list[Series]:
        """Return the series, in the order of METHODS."""
        return all_series(self.rows)

    def levels(self) -> list[float]:
        """Return the noise levels in ascending order."""
        return sorted({row["noise_level"] for row in self.rows})

    def is_crowded(self) -> bool:
        """Return whether there are so many series that a panel of all of them shows nothing else."""
        return len(self.series()) > MOST_WITH_BANDS

    def select(self, **values: Any) -> list[Row]:
        """Return the rows with these values."""
        return [row for row in self.rows if all(row[name] == value for name, value in values.items())]

    def comparable(self, color: str) -> list[Row]:
        """Return the rows of a color at the noise levels and seeds that all of its series have."""
        return with_shared_cells(self.select(color=color), "series")


@dataclass(frozen=True)
class Panels:
    """A canvas, and its axes in rows of `columns`; the last row may have fewer."""

    canvas: Canvas
    axes: list[Axes]
    columns: int

    def label(self, x: str, y: str) -> None:
        """Label the x axis of the lowest panel of each column, and the y axis of the first panel of each row."""
        for axis in self.axes[-self.columns :]:
            axis.set_xlabel(x)
            axis.tick_params(labelbottom=True)
        for axis in self.axes[:: self.columns]:
            axis.set_ylabel(y)

    def legend(self, extra: Iterable[Artist] = ()) -> None:
        """Draw one legend below all panels, with each name once and `extra` at the end, and make room for it."""
        named: dict[str, Artist] = {}
        for axis in self.axes:
            handles, labels = axis.get_legend_handles_labels()
            named |= dict(zip(labels, handles, strict=True))
        named |= {str(handle.get_label()): handle for handle in extra}
        width, height = self.canvas.get_size_inches()
        names = [in_lines(name, width - 0.5) for name in named]
        for lines in range(1, len(named) + 1):
            legend = self.canvas.legend(
                list(named.values()), names, loc="outside lower center", ncols=math.ceil(len(named) / lines)
            )
            extent = legend.get_window_extent()
            if extent.width <= self.canvas.bbox.width or lines == len(named):
                self.canvas.set_figheight(height + extent.height / self.canvas.dpi)
                return
            legend.remove()


def panels(
    width: float, titles: Sequence[str], *, group: int = 1, least: float = NARROW, height: float | None = None
) -> Panels:
    """Return a panel per title, with shared scales; lengths are in inches.

    Rows have equal numbers of panels, as far as these are at least `least` wide, and whole groups of `group` panels if
    one fits. `height`: of a row of panels with titles of one line (default: by their width).
    """
    columns = _columns(len(titles), group, max(1, int(width / least)))
    rows = math.ceil(len(titles) / columns)
    lines = [in_lines(title, 0.8 * width / columns) for title in titles]
    height = height or min(2.2, max(1.65, 0.75 * width / columns))
    height += LINE * max(text.count("\n") for text in lines)
    canvas = Canvas(figsize=(width, rows * height), layout="constrained")
    axes = canvas.subplots(rows, columns, sharey=True, sharex=True, squeeze=False).ravel().tolist()
    for axis in axes[len(titles) :]:
        axis.remove()
    for axis, text in zip(axes, lines, strict=False):
        axis.set_title(text)
    for scale in (axes[0].xaxis, axes[0].yaxis):
        scale.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    return Panels(canvas, axes[: len(titles)], columns)


def _columns(count: int, group: int, most: int) -> int:
    """Return a number of columns up to `most` that fills the rows about equally."""
    if group > most:
        return most
    groups, per_row = math.ceil(count / group), most // group
    return group * math.ceil(groups / math.ceil(groups / per_row))


def in_lines(text: str, width: float) -> str:
    """Return text in lines that are at most `width` inches long."""
    return "\n".join(
        textwrap.fill(line, max(8, int(width / CHARACTER)), break_on_hyphens=False)
        for line in text.split("\n")
    )


def band(
    axis: Axes, x: Sequence[float], ends: Sequence[tuple[float | None, float | None]], paint: str
) -> None:
    """Fill the area between the ends of intervals; where one has no ends, the area has a gap."""
    low, high = ([math.nan if end is None else end for end in side] for side in zip(*ends, strict=True))
    axis.fill_between(x, low, high, color=paint, alpha=0.18, linewidth=0)


def clip_to_percent(axis: Axes) -> None:
    """Keep the accuracy axis within 0 to 100: t intervals of few seeds are wider."""
    low, high = axis.get_ylim()
    axis.set_ylim(max(0.0, low), min(100.0, high))
