"""Style of the figures: colors that color-blind readers can distinguish, each with a line style or marker."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from training.study.series import Series

# Red and blue noise have vermilion and blue of Okabe and Ito, and different line styles.
NOISE = {
    "red": ("#D55E00", "-"), "blue": ("#0072B2", "--"), "red-text": ("#CC7755", "-."), "blue-asymmetric": ("#5599CC", ":"),
    "red-closed": ("#8C3B00", ":"), "red-open": ("#E8925A", "--"), "blue-instance": ("#003F66", "-."),
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

STYLE: Any = {
    "svg.hashsalt": "training", "svg.fonttype": "none", "font.size": 10, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3, "legend.frameon": False,
}  # fmt: skip


def noise_style(color: str) -> tuple[str, str]:
    """Return color and line style of a color of noise."""
    return NOISE.get(color, ("#666666", "-."))


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
