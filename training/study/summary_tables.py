"""Summary tables of a study, as Markdown, LaTeX and CSV."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from common.atomic_file import write_text
from common.latex import escape
from common.text_table import aligned
from page.markdown import markdown_table
from page.text import visible_text
from schemas.cells import csv_text
from training.config import METHODS
from training.study.estimates import AccuracyEstimate, accuracy_estimate, interval_note, sizes
from training.study.series import Series, all_series, settings_note, with_series
from training.study.significance import compare, deviation, mean_interval

LONGEST_CELL = 1000  # characters, on a terminal

Row = dict[str, Any]
CellContent = str | float | AccuracyEstimate | Series | None


@dataclass(frozen=True)
class SummaryTable:
    """A table for readers; a cell is a text, a number, an estimate, a series, or None for an empty cell."""

    name: str
    title: str
    note: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[CellContent, ...]]

    def markdown(self) -> str:
        """Render as Markdown, without the title."""
        return markdown_table(self.columns, self._texts()) + "\n"

    def text(self) -> str:
        """Render as plain text with aligned columns, without the title."""
        rows = [[visible_text(cell, LONGEST_CELL) for cell in row] for row in self._texts()]
        return "\n".join(aligned([self.columns, *rows])) + "\n"

    def latex(self) -> str:
        """Render as LaTeX with booktabs."""

        def line(cells: Sequence[str]) -> str:
            return (
                " & ".join(escape(cell).replace("±", r"$\pm$").replace("−", "$-$") for cell in cells) + r" \\"
            )

        alignment = "".join(
            "r" if any(isinstance(row[index], int | float | AccuracyEstimate) for row in self.rows) else "l"
            for index in range(len(self.columns))
        )
        body = [line(row) for row in self._texts()]
        head = [rf"\begin{{tabular}}{{{alignment}}}", r"\toprule", line(self.columns), r"\midrule"]
        return (
            "\n".join([f"% {self.title}. {self.note}", *head, *body, r"\bottomrule", r"\end{tabular}"]) + "\n"
        )

    def csv(self) -> str:
        """Render as CSV, with unrounded numbers; an estimate has four columns: mean, low, high, source of the interval."""
        wide = [
            any(isinstance(row[i], AccuracyEstimate) for row in self.rows) for i in range(len(self.columns))
        ]
        columns: list[str] = []
        for name, is_wide in zip(self.columns, wide, strict=True):
            columns += [name, f"{name} low", f"{name} high", f"{name} interval"] if is_wide else [name]
        rows: list[list[str | float | None]] = []
        for row in self.rows:
            line: list[str | float | None] = []
            for cell, is_wide in zip(row, wide, strict=True):
                if isinstance(cell, AccuracyEstimate):
                    line += [cell.mean, cell.low, cell.high, cell.source]
                else:
                    plain = str(cell) if isinstance(cell, Series) else cell
                    line += [plain, None, None, None] if is_wide else [plain]
            rows.append(line)
        return csv_text(columns, rows)

    def write(self, folder: Path) -> None:
        """Write NAME.md, NAME.tex and NAME.csv."""
        folder.mkdir(parents=True, exist_ok=True)
        for ending, text in (("md", self.markdown()), ("tex", self.latex()), ("csv", self.csv())):
            write_text(folder / f"{self.name}.{ending}", text)

    def _texts(self) -> list[list[str]]:
        return [[_text(cell) for cell in row] for row in self.rows]


def _text(cell: CellContent) -> str:
    if isinstance(cell, float):
        return f"{cell:.1f}".replace("-", "−")
    return "–" if cell is None else str(cell)


def finished(results: pa.Table) -> list[Row]:
    """Return the rows of finished runs, ordered by network, color, level, method, setting and seed."""
    rows = [row for row in results.to_pylist() if row["status"] == "finished"]
    return sorted(rows, key=lambda row: (row["network"], row["color"] != "red", row["color"], row["noise_level"],
                                         METHODS.index(row["method"]), row["setting"], row["seed"]))  # fmt: skip


def grouped(rows: list[Row], *names: str) -> Iterator[tuple[Any, list[Row]]]:
    """Yield rows by their values of `names`, a tuple or the value of a single name, in order of appearance."""
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[n] for n in names) if len(names) > 1 else row[names[0]]].append(row)
    yield from groups.items()


def with_shared_cells(rows: list[Row], name: str) -> list[Row]:
    """Return the rows at the noise levels and seeds that all values of the column `name` have.

    Means over them are comparable: a value that lacks the runs of a high level does not gain from that.
    """
    cells = [{(row["noise_level"], row["seed"]) for row in part} for _, part in grouped(rows, name)]
    shared = set.intersection(*cells) if cells else set()
    return [row for row in rows if (row["noise_level"], row["seed"]) in shared]


def mean_percent(rows: list[Row], name: str) -> float | None:
    """Return the mean of a column, in percent, over the rows that have a value; None if none has."""
    values = [100 * row[name] for row in rows if row[name] is not None]
    return mean_interval(values).mean if values else None


def cells(results: pa.Table) -> SummaryTable:
    """Return the table of all cells of the grid, with means over the seeds."""
    lines, estimates = [], []
    for key, rows in grouped(finished(results), "setting", "network", "color", "noise_level", "method"):
        setting, network, color, level, method = key
        final, best = (accuracy_estimate(rows, name) for name in ("final_accuracy", "best_accuracy"))
        drop = mean_interval([100 * (row["best_accuracy"] - row["final_accuracy"]) for row in rows])
        selected, memorized = accuracy_estimate(rows, "selected_accuracy"), mean_percent(rows, "memorized")
        cell = (setting, network, color, 100 * level, method, len(rows))
        estimates += [final, best, selected]
        lines.append((*cell, final, best, drop.mean, selected, memorized))
    return SummaryTable(
        "cells",
        "All cells of the grid",
        f"Test accuracy in percent{_size_note(results)}. {interval_note(estimates)} final: after the last "
        "epoch; best: of the best epoch, which is not known without the test set; drop: best minus final; selected: of "
        "the epoch that is best on held-out training images; memorized: share of the wrong labels that are predicted "
        "after the last epoch.",
        ("setting", "network", "color", "noise, %", "method", "seeds", "final", "best", "drop",
         "selected", "memorized"),
        lines,
    )  # fmt: skip


def _size_note(results: pa.Table) -> str:
    known = sizes(finished(results))
    return f" of {' or '.join(f'{size:,}' for size in known)} test images" if known else ""


def by_level(results: pa.Table, measure: str, name: str) -> SummaryTable:
    """Return a table with a column per noise level, as in the paper: `measure` with its interval."""
    rows = finished(results)
    levels = sorted({row["noise_level"] for row in rows})
    lines, estimates = [], list[AccuracyEstimate | None]()
    for key, group in grouped(rows, "setting", "network", "color", "method"):
        by_its_level = {
            level: accuracy_estimate(part, measure) for level, part in grouped(group, "noise_level")
        }
        estimates += by_its_level.values()
        lines.append((*key, *(by_its_level.get(level) for level in levels)))
    title = f"{name.capitalize()} test accuracy by noise level"
    note = f"Percent{_size_note(results)}. {interval_note(estimates)}"
    return SummaryTable(
        name,
        title,
        note,
        ("setting", "network", "color", "method", *(f"{100 * x:g} %" for x in levels)),
        lines,
    )


def over_levels(results: pa.Table) -> SummaryTable:
    """Return the table of means and standard deviations over the noise levels."""
    lines = []
    for key, rows in grouped(finished(results), "setting", "network", "color", "method"):
        parts = dict(grouped(rows, "noise_level"))
        cells: list[float | None] = []
        for measure in ("final_accuracy", "best_accuracy"):
            means = [100 * mean_interval([row[measure] for row in part]).mean for part in parts.values()]
            cells += [mean_interval(means).mean, deviation(means)]
        finals = [mean_interval([row["final_accuracy"] for row in part]).mean for part in parts.values()]
        lines.append((*key, len(parts), *cells, 100 * (max(finals) - min(finals))))
    return SummaryTable(
        "levels",
        "Mean and spread over the noise levels",
        "Test accuracy in percent: mean ± standard deviation over the levels (each the mean over its seeds), and the "
        "range of the final accuracy from the lowest to the highest level.",
        ("setting", "network", "color", "method", "levels", "final", "±", "best", "±", "range of final"),
        lines,
    )


def comparisons(results: pa.Table) -> SummaryTable:
    """Return the table of paired comparisons of all series of a network; runs that colors share count once."""
    lines: list[tuple[CellContent, ...]] = []
    every = with_series(finished(results))
    for network, rows in grouped(every, "network"):
        families = [*grouped(rows, "color")]
        if len(families) > 1:
            families.append(("all", list({(row["run"], row["series"]): row for row in rows}.values())))
        for color, family in families:
            lines += [(network, color, *cells) for cells in _compared(family)]
    return SummaryTable(
        "comparisons",
        "Paired comparisons of methods",
        "Difference of final test accuracy, method minus the other, in percentage points: mean over cells (level, seed, "
        "color) that both have, its 95 % interval, and p of the paired t test with Holm's correction over the pairs "
        "of a color; –: interval and test need two pairs, and differences that vary. At a single level the difference may be "
        f"another. {settings_note(all_series(every))}".rstrip(),
        ("network", "color", "method", "other", "pairs", "difference", "low", "high", "p", "significant"),
        lines,
    )


def _compared(rows: list[Row]) -> Iterator[tuple[CellContent, ...]]:
    """Yield the cells of a line for each pair of series."""
    by_name = {str(series): series for series in all_series(rows)}
    values: dict[str, dict[object, float]] = {name: {} for name in by_name}
    for row in rows:
        values[str(row["series"])][row["color"], row["noise_level"], row["seed"]] = (
            100 * row["final_accuracy"]
        )
    for comparison in compare(values):
        gap, p = comparison.difference, comparison.p
        text = None if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
        significant = None if p is None else "yes" if comparison.is_significant else "no"
        yield (by_name[comparison.first], by_name[comparison.second], gap.count, gap.mean, gap.low, gap.high, text,
               significant)  # fmt: skip


def mentors(results: pa.Table) -> SummaryTable:
    """Return the table of the weights of methods that weight examples, against the truth."""
    lines = []
    for key, rows in grouped(finished(results), "setting", "network", "color", "noise_level", "method"):
        if any(row["data_utilization"] is not None for row in rows):
            setting, network, color, level, method = key
            shares = (
                mean_percent(rows, name) for name in ("data_utilization", "mentor_precision", "mentor_recall")
            )
            lines.append((setting, network, color, 100 * level, method, *shares))
    return SummaryTable(
        "mentors",
        "Quality of the mentor's weights in the last epoch",
        "Percent. data used: mean weight; precision: share of the trusted labels (weight of at least 0.5) that are "
        "clean; recall: share of the clean labels that are trusted.",
        ("setting", "network", "color", "noise, %", "method", "data used", "precision", "recall"),
        lines,
    )


def hardware(row: Mapping[str, Any]) -> str | None:
    """Return the model of the GPU of a run, else that of its CPU, else its device; None if none is known."""
    return next((row[name] for name in ("gpu", "cpu", "device") if row[name] is not None), None)


def costs(results: pa.Table) -> SummaryTable:
    """Return the table of the time of runs by method and hardware; each run counts once."""
    rows = list({row["run"]: row for row in finished(results)}.values())
    lines = []
    for key, group in grouped(
        [row | {"hardware": hardware(row)} for row in rows], "network", "method", "hardware"
    ):
        network, method, used = key
        seconds = mean_interval([row["seconds"] for row in group]).mean
        speed = mean_interval([row["images_per_second"] for row in group]).mean
        lines.append((network, method, used, len(group), float(seconds), float(speed)))
    return SummaryTable(
        "costs",
        "Time of the runs",
        "Means over the runs. images/s: training alone, without evaluation.",
        ("network", "method", "hardware", "runs", "seconds", "images/s"),
        lines,
    )


def unfinished(results: pa.Table) -> SummaryTable:
    """Return the table of runs that failed or have not been trained."""
    lines = list(
        {row["run"]: (row["run"], row["status"], row["error"]) for row in results.to_pylist()
         if row["status"] != "finished"}.values()
    )  # fmt: skip
    return SummaryTable(
        "unfinished",
        "Runs without a result",
        "These runs are not in the other tables.",
        ("run", "status", "reason"),
        lines,
    )


def all_tables(results: pa.Table) -> list[SummaryTable]:
    """Return all tables that have rows."""
    tables = [
        by_level(results, "final_accuracy", "final"), by_level(results, "best_accuracy", "best"),
        over_levels(results), comparisons(results), mentors(results), costs(results), cells(results),
        unfinished(results),
    ]  # fmt: skip
    return [table for table in tables if table.rows]
