"""Test accuracy against noise level: one panel per colour, one line per method."""

import argparse
from pathlib import Path
from typing import Any

import matplotlib
import pyarrow as pa
from matplotlib.figure import Figure

from schemas.errors import DataError
from training.config import METHODS
from training.show import show
from training.study import table as tables
from training.study.summary import markdown, summarise

# Okabe and Ito's palette, which colour-blind readers can tell apart; markers differ too, for print
LOOKS = {
    "vanilla": ("#D55E00", "o"), "mixup": ("#CC79A7", "s"), "mentornet": ("#009E73", "^"),
    "mentormix": ("#0072B2", "D"), "weight_decay": ("#E69F00", "v"), "dropout": ("#F0E442", "<"),
    "s_model": ("#56B4E9", ">"), "reed": ("#000000", "p"), "label_smoothing": ("#999999", "h"),
    "gce": ("#882255", "*"), "co_teaching": ("#117733", "P"), "elr": ("#661100", "X"),
    "dividemix": ("#332288", "d"),
}  # fmt: skip
STYLE: Any = {
    "svg.hashsalt": "training", "svg.fonttype": "none", "font.size": 10, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3,
}  # fmt: skip


def plot(table: pa.Table, output: Path) -> list[Path]:
    """Draw the study to accuracy.svg and accuracy.png in `output` and return their paths.

    Solid: final accuracy, with the standard deviation over seeds as a band; dotted: the best epoch's.
    Raises DataError if no run has finished.
    """
    cells = summarise(table)
    if not cells:
        raise DataError(f"{output}: no run has finished; see failure.json in its run folders")
    colours = list(dict.fromkeys(colour for colour, _, _ in cells))
    methods = [method for method in METHODS if any(method == one for _, _, one in cells)]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(1.2 + 4.2 * len(colours), 3.8), layout="constrained")
        axes = figure.subplots(1, len(colours), sharey=True, squeeze=False)
        for axis, colour in zip(axes[0], colours, strict=True):
            for method in methods:
                found = [(level, cells[c, level, m]) for c, level, m in cells if (c, m) == (colour, method)]
                if not found:
                    continue
                levels = [100 * level for level, _ in found]
                final = [measured["final_accuracy"] for _, measured in found]
                means = [100 * one.mean for one in final]
                around = [100 * (one.deviation or 0.0) for one in final]
                paint, marker = LOOKS[method]
                axis.plot(levels, means, color=paint, marker=marker, label=method)
                low = [m - d for m, d in zip(means, around, strict=True)]
                high = [m + d for m, d in zip(means, around, strict=True)]
                axis.fill_between(levels, low, high, color=paint, alpha=0.2, linewidth=0)
                best = [100 * measured["best_accuracy"].mean for _, measured in found]
                axis.plot(levels, best, color=paint, linestyle=":", marker=marker, markerfacecolor="none")
            axis.set_title(f"{colour} noise")
            axis.set_xlabel("wrong labels, %")
        axes[0][0].set_ylabel("test accuracy, %")
        axes[0][-1].plot([], [], color="0.3", label="final epoch")
        axes[0][-1].plot([], [], color="0.3", linestyle=":", label="best epoch")
        handles, labels = axes[0][-1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", frameon=False)
        paths = [output / "accuracy.svg", output / "accuracy.png"]
        figure.savefig(paths[0], metadata={"Date": None})
        figure.savefig(paths[1], dpi=150)
    return paths


def verb(arguments: argparse.Namespace) -> int:
    """Draw a study's table, and write its summary; needs no torch."""
    results = tables.read(arguments.output)
    paths = plot(results, arguments.output)
    paths.append(arguments.output / "summary.md")
    paths[-1].write_text(markdown(results), encoding="utf-8")
    show({path.stem + path.suffix: str(path) for path in paths}, arguments.json)
    return 0
