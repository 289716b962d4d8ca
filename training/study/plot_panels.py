"""Shared parts of the figures of a study: their data, panels, legends and interval bands."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from training.study.series import Series, all_series
from training.study.summary_tables import Row

PANEL = (3.4, 3.0)  # inches
MARKERS = "os^Dv<>ph*"
SHOWN_LEVEL = 0.4  # figures of a single level show the nearest level


class MissingDataError(Exception):
    """The study lacks the data of a figure; the message says which."""


@dataclass(frozen=True)
class FigureData:
    """The finished runs of one network with their series, and the epochs of all runs."""

    rows: list[Row]
    curves: dict[str, list[Row]]

    def colors(self) -> list[str]:
        """Return the colors of noise, in the order of the rows."""
        return list(dict.fromkeys(row["color"] for row in self.rows))

    def series(self) -> list[Series]:
        """Return the series, in the order of METHODS."""
        return all_series(self.rows)

    def select(self, **values: Any) -> list[Row]:
        """Return the rows with these values."""
        return [row for row in self.rows if all(row[name] == value for name, value in values.items())]


def panels(
    rows: int, columns: int, *, beside: float = 1.3, sharex: bool = True
) -> tuple[Canvas, list[list[Axes]]]:
    """Return a canvas, and its rows of axes with shared scales; `beside`: width for the legend, in inches."""
    size = (PANEL[0] * columns + 0.3 + beside, PANEL[1] * rows + 0.3)
    canvas = Canvas(figsize=size, layout="constrained")
    return canvas, canvas.subplots(rows, columns, sharey=True, sharex=sharex, squeeze=False).tolist()


def legend(canvas: Canvas, axes: Sequence[Axes]) -> None:
    """Draw one legend beside all panels, with each name once."""
    handles: dict[str, Any] = {}
    for axis in axes:
        handles |= {text: handle for handle, text in zip(*axis.get_legend_handles_labels(), strict=True)}
    canvas.legend(list(handles.values()), list(handles), loc="outside right center")


def band(
    axis: Axes, x: Sequence[float], ends: Sequence[tuple[float | None, float | None]], paint: str
) -> None:
    """Fill the area between the ends of intervals; where one has no ends, the area has a gap."""
    low, high = ([math.nan if end is None else end for end in side] for side in zip(*ends, strict=True))
    axis.fill_between(x, low, high, color=paint, alpha=0.18, linewidth=0)
