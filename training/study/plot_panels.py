"""What the figures of a study are drawn from and on: its finished runs, and panels with one legend."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from training.config import METHODS
from training.study.significance import MeanInterval
from training.study.summary_tables import Row

PANEL = (3.4, 3.0)  # inches
MARKERS = "os^Dv<>ph*"
SHOWN_LEVEL = 0.4  # the figures of one level take the nearest to it


class MissingDataError(Exception):
    """The study has not what a figure shows; the text says what is missing."""


@dataclass(frozen=True)
class FigureData:
    """The finished runs of one setting and network, and the epochs of all runs."""

    rows: list[Row]
    curves: dict[str, list[Row]]

    def colors(self) -> list[str]:
        """Kinds of noise, in the order of the rows."""
        return list(dict.fromkeys(row["color"] for row in self.rows))

    def methods(self) -> list[str]:
        """Methods in their usual order."""
        return [method for method in METHODS if any(row["method"] == method for row in self.rows)]

    def select(self, **values: Any) -> list[Row]:
        """Return the rows with these values."""
        return [row for row in self.rows if all(row[name] == value for name, value in values.items())]


def panels(
    rows: int, columns: int, *, beside: float = 1.3, sharex: bool = True
) -> tuple[Canvas, list[list[Axes]]]:
    """A canvas with rows of axes that share their scales, and `beside` inches for the legend."""
    size = (PANEL[0] * columns + 0.3 + beside, PANEL[1] * rows + 0.3)
    canvas = Canvas(figsize=size, layout="constrained")
    return canvas, canvas.subplots(rows, columns, sharey=True, sharex=sharex, squeeze=False).tolist()


def legend(canvas: Canvas, axes: Sequence[Axes]) -> None:
    """One legend for all panels, beside them, each name once."""
    named: dict[str, Any] = {}
    for axis in axes:
        named |= {text: handle for handle, text in zip(*axis.get_legend_handles_labels(), strict=True)}
    canvas.legend(list(named.values()), list(named), loc="outside right center")


def band(axis: Axes, x: Sequence[float], found: Sequence[MeanInterval], paint: str) -> None:
    """Fill between the ends of the intervals, in percent, where there are any."""
    if all(one.half is not None for one in found):
        low, high = ([100 * (one.mean + sign * (one.half or 0)) for one in found] for sign in (-1, 1))
        axis.fill_between(x, low, high, color=paint, alpha=0.18, linewidth=0)
