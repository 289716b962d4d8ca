"""The tables of a study for people: as Markdown, LaTeX and CSV."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from schemas.cells import csv_text
from training.config import METHODS
from training.study.significance import compare, deviation, mean_interval

Row = dict[str, Any]
LATEX = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "±": r"$\pm$", "−": "$-$", "–": "--"}


@dataclass(frozen=True)
class SummaryTable:
    """Rows to be read; a cell is a text or a number, None where there is nothing to say."""

    name: str
    title: str
    note: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str | float | None, ...]]

    def markdown(self) -> str:
        """Render for Markdown, without the title."""
        rows = [[_text(cell).replace("|", r"\|").replace("\n", " ") for cell in row] for row in self.rows]
        lines = [self.columns, ("---",) * len(self.columns), *rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"

    def latex(self) -> str:
        """Render for LaTeX with booktabs."""

        def line(cells: Sequence[str]) -> str:
            return " & ".join("".join(LATEX.get(c, c) for c in cell) for cell in cells) + r" \\"

        kinds = "".join(
            "r" if any(isinstance(row[place], int | float) for row in self.rows) else "l"
            for place in range(len(self.columns))
        )
        body = [line(list(map(_text, row))) for row in self.rows]
        head = [rf"\begin{{tabular}}{{{kinds}}}", r"\toprule", line(self.columns), r"\midrule"]
        return (
            "\n".join([f"% {self.title}. {self.note}", *head, *body, r"\bottomrule", r"\end{tabular}"]) + "\n"
        )

    def csv(self) -> str:
        """Render as CSV, numbers in full."""
        return csv_text(self.columns, self.rows)

    def write(self, folder: Path) -> None:
        """Write NAME.md, NAME.tex and NAME.csv."""
        folder.mkdir(parents=True, exist_ok=True)
        for ending, text in (("md", self.markdown()), ("tex", self.latex()), ("csv", self.csv())):
            (folder / f"{self.name}.{ending}").write_text(text, encoding="utf-8")


def _text(cell: str | float | None) -> str:
    if isinstance(cell, float):
        return f"{cell:.1f}".replace("-", "−")
    return "–" if cell is None else str(cell)


def finished(results: pa.Table) -> list[Row]:
    """Return the rows of finished runs, methods in their usual order."""
    rows = [row for row in results.to_pylist() if row["status"] == "finished"]
    return sorted(rows, key=lambda row: (row["setting"], row["network"], row["color"] != "red", row["color"],
                                         row["noise_level"], METHODS.index(row["method"]), row["seed"]))  # fmt: skip


def grouped(rows: list[Row], *names: str) -> Iterator[tuple[Any, list[Row]]]:
    """Yield rows by their values of `names`, a tuple or the value of a single name, in order of appearance."""
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[n] for n in names) if len(names) > 1 else row[names[0]]].append(row)
    yield from groups.items()


def per_cent(rows: list[Row], name: str) -> tuple[float | None, float | None]:
    """Return mean and half of the 95 % interval, in percent, of what the rows have of a measure."""
    values = [100 * row[name] for row in rows if row[name] is not None]
    if not values:
        return None, None
    found = mean_interval(values)
    return found.mean, found.half


def cells(results: pa.Table) -> SummaryTable:
    """Every cell of the grid: means over its seeds."""
    lines = []
    for key, rows in grouped(finished(results), "setting", "network", "color", "noise_level", "method"):
        setting, network, color, level, method = key
        final, peak = per_cent(rows, "final_accuracy"), per_cent(rows, "best_accuracy")
        drop = mean_interval([100 * (row["best_accuracy"] - row["final_accuracy"]) for row in rows])
        selected, memorized = per_cent(rows, "selected_accuracy")[0], per_cent(rows, "memorized")[0]
        place = (setting, network, color, 100 * level, method, len(rows))
        lines.append((*place, *final, *peak, drop.mean, selected, memorized))
    return SummaryTable(
        "cells",
        "Every cell of the grid",
        "Test accuracy in percent: mean over the seeds, and half of its 95 % interval by Student's t (±). final: after "
        "the last epoch; peak: the best epoch's, which nobody could choose; drop: peak less final; selected: of the "
        "epoch that is best on held-out training images; memorized: share of the wrong labels predicted at the end.",
        ("setting", "network", "color", "noise, %", "method", "seeds", "final", "±", "peak", "±", "drop",
         "selected", "memorized"),
        lines,
    )  # fmt: skip


def by_level(results: pa.Table, measure: str, name: str) -> SummaryTable:
    """Method × level × color × setting, as the paper prints it: `measure` with its interval over the seeds."""
    rows = finished(results)
    levels = sorted({row["noise_level"] for row in rows})
    lines = []
    for key, group in grouped(rows, "setting", "network", "color", "method"):
        found = {
            level: mean_interval([row[measure] for row in part])
            for level, part in grouped(group, "noise_level")
        }
        lines.append((*key, *(str(found[level]) if level in found else None for level in levels)))
    title = f"{name.capitalize()} test accuracy by noise level"
    note = "Percent: mean over the seeds ± half of its 95 % interval."
    return SummaryTable(
        name,
        title,
        note,
        ("setting", "network", "color", "method", *(f"{100 * x:g} %" for x in levels)),
        lines,
    )


def over_levels(results: pa.Table) -> SummaryTable:
    """Mean and standard deviation over the noise levels, of the means over the seeds."""
    lines = []
    for key, rows in grouped(finished(results), "setting", "network", "color", "method"):
        by = dict(grouped(rows, "noise_level"))
        cells: list[float | None] = []
        for measure in ("final_accuracy", "best_accuracy"):
            means = [100 * mean_interval([row[measure] for row in part]).mean for part in by.values()]
            cells += [mean_interval(means).mean, deviation(means)]
        finals = [mean_interval([row["final_accuracy"] for row in part]).mean for part in by.values()]
        lines.append((*key, len(by), *cells, 100 * (max(finals) - min(finals))))
    return SummaryTable(
        "levels",
        "Mean and spread over the noise levels",
        "Test accuracy in percent: mean of the levels' means, their standard deviation (±), and the range from the "
        "best to the worst level's final accuracy.",
        ("setting", "network", "color", "method", "levels", "final", "±", "peak", "±", "range of final"),
        lines,
    )


def comparisons(results: pa.Table) -> SummaryTable:
    """Every two methods over the same noise level, seed and color; a run that serves several colors counts once."""
    lines = []
    every = finished(results)
    for (setting, network), rows in grouped(every, "setting", "network"):
        families = [*grouped(rows, "color")]
        if len(families) > 1:
            families.append(("all", list({(row["run"], row["seed"]): row for row in rows}.values())))
        for color, family in families:
            values: dict[str, dict[object, float]] = defaultdict(dict)
            for row in family:
                values[row["method"]][row["color"], row["noise_level"], row["seed"]] = (
                    100 * row["final_accuracy"]
                )
            for found in compare({method: values[method] for method in METHODS if method in values}):
                gap = found.difference
                p = None if found.p is None else "< 0.001" if found.p < 0.001 else f"{found.p:.3f}"
                verdict = "yes" if found.is_significant else "no"
                lines.append((setting, network, color, found.first, found.second, gap.count, gap.mean, gap.low,
                              gap.high, p, verdict))  # fmt: skip
    return SummaryTable(
        "comparisons",
        "Methods compared in pairs",
        "Final test accuracy of the first less that of the second, in points, paired over noise level, seed (and "
        "color); 95 % interval; p of the paired t test with Holm's correction over the pairs of a color. The mean "
        "is over the levels of this study: at a single level it may be otherwise.",
        (
            "setting",
            "network",
            "color",
            "method",
            "less",
            "pairs",
            "difference",
            "from",
            "to",
            "p",
            "told apart",
        ),
        lines,
    )


def mentors(results: pa.Table) -> SummaryTable:
    """How well the trusted labels are the right ones, for methods that weigh examples."""
    lines = []
    for key, rows in grouped(finished(results), "setting", "network", "color", "noise_level", "method"):
        if any(row["data_utilization"] is not None for row in rows):
            setting, network, color, level, method = key
            told = (
                per_cent(rows, name)[0] for name in ("data_utilization", "mentor_precision", "mentor_recall")
            )
            lines.append((setting, network, color, 100 * level, method, *told))
    return SummaryTable(
        "mentors",
        "What the weights are worth in the last epoch",
        "Percent. data used: mean weight; precision: share of the trusted labels (weight at least one half) that are "
        "right; recall: share of the right labels that are trusted.",
        ("setting", "network", "color", "noise, %", "method", "data used", "precision", "recall"),
        lines,
    )


def costs(results: pa.Table) -> SummaryTable:
    """What a run took, and on what; each run once."""
    rows = list({row["run"]: row for row in finished(results)}.values())
    lines = []
    for key, group in grouped(rows, "network", "method", "device", "cpu", "gpu"):
        network, method, device, cpu, gpu = key
        seconds = mean_interval([row["seconds"] for row in group]).mean
        speed = mean_interval([row["images_per_second"] for row in group]).mean
        lines.append((network, method, gpu or cpu or device, len(group), float(seconds), float(speed)))
    return SummaryTable(
        "costs",
        "What the runs took",
        "Means over the runs. images/s: training alone, without evaluation.",
        ("network", "method", "hardware", "runs", "seconds", "images/s"),
        lines,
    )


def unfinished(results: pa.Table) -> SummaryTable:
    """Runs that failed or are missing, with the reason."""
    lines = list(
        {row["run"]: (row["run"], row["status"], row["error"]) for row in results.to_pylist()
         if row["status"] != "finished"}.values()
    )  # fmt: skip
    return SummaryTable(
        "unfinished", "Not in the tables", "Runs without a result.", ("run", "status", "reason"), lines
    )


def all_tables(results: pa.Table) -> list[SummaryTable]:
    """Return every table that has something to say."""
    found = [
        by_level(results, "final_accuracy", "final"), by_level(results, "best_accuracy", "peak"),
        over_levels(results), comparisons(results), mentors(results), costs(results), cells(results),
        unfinished(results),
    ]  # fmt: skip
    return [table for table in found if table.rows]
