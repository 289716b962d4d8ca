"""Style of the figures: fit for print at the width of a paper's column, and for color-blind readers.

Each color has a line style or marker of its own, so figures are readable in gray, too.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from training.study.series import Series

PAGE, COLUMN = 6.75, 3.25  # inches: text width and column width of ICML's template

# Red and blue noise have vermilion and blue of Okabe and Ito, and different line styles and markers.
NOISE = {
    "red": ("#D55E00", "-", "o"), "blue": ("#0072B2", "--", "s"), "red-text": ("#CC7755", "-.", "^"),
    "blue-asymmetric": ("#5599CC", ":", "v"), "red-closed": ("#8C3B00", ":", "D"), "red-open": ("#E8925A", "--", "P"),
    "blue-instance": ("#003F66", "-.", "X"),
}  # fmt: skip

# Colors of methods differ from these.
METHOD = {
    "vanilla": ("#000000", "o"), "mixup": ("#E69F00", "s"), "mentornet": ("#CC79A7", "^"),
    "mentormix": ("#009E73", "D"), "weight_decay": ("#999999", "v"), "dropout": ("#BBCC33", "<"),
    "s_model": ("#56B4E9", ">"), "reed": ("#882255", "p"), "label_smoothing": ("#44AA99", "h"),
    "gce": ("#117733", "*"), "co_teaching": ("#332288", "P"), "elr": ("#AA4499", "X"),
    "dividemix": ("#661100", "d"),
}  # fmt: skip
SETTING_LINES = ("-", "--", "-.")  # of the settings of a method; the best epoch is dotted

TEXT = 8  # points, of all text
CHARACTER, LINE = 0.066, 0.135  # inches, mean width at this size, rounded up, and height of a line
STYLE: Any = {
    "svg.hashsalt": "training", "svg.fonttype": "none", "pdf.fonttype": 42,  # text stays text; TrueType
    **dict.fromkeys(("font.size", "axes.titlesize", "axes.labelsize", "xtick.labelsize", "ytick.labelsize",
                     "legend.fontsize"), TEXT),
    "text.parse_math": False,  # names of settings are not formulas
    "lines.linewidth": 1.0, "lines.markersize": 3.5, "lines.markeredgewidth": 0.8, "hatch.linewidth": 0.4,
    "axes.linewidth": 0.6, "axes.titlepad": 3, "axes.labelpad": 2, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.alpha": 0.3, "grid.linewidth": 0.5,
    "xtick.major.width": 0.6, "ytick.major.width": 0.6, "xtick.major.size": 2.5, "ytick.major.size": 2.5,
    "legend.frameon": False, "legend.handlelength": 2.2, "legend.columnspacing": 1.4,
    "legend.handletextpad": 0.5, "legend.borderaxespad": 0.2, "legend.labelspacing": 0.3,
}  # fmt: skip


def noise_style(color: str) -> tuple[str, str, str]:
    """Return color, line style and marker of a color of noise."""
    return NOISE.get(color, ("#666666", "-.", "*"))


def series_styles(series: Sequence[Series]) -> dict[Series, dict[str, Any]]:
    """Return keyword arguments of `Axes.plot`: color and marker say the method, line and marker face the setting."""
    styles, seen = {}, Counter[str]()
    for one in series:
        paint, marker = METHOD[one.method]
        number = seen[one.method] % len(SETTING_LINES)
        seen[one.method] += 1
        face = paint if number == 0 else "white"
        styles[one] = {"color": paint, "marker": marker, "linestyle": SETTING_LINES[number],
                       "markerfacecolor": face}  # fmt: skip
    return styles
