"""The report of a study: an HTML page with its figures, its tables, and all runs."""

import argparse
import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from common.atomic_file import write_text
from page.render import content_security_policy, render
from page.table import Column, IntervalCell, Listing, PageTable
from training.printing import print_result
from training.study.estimates import AccuracyEstimate
from training.study.plot import StudyPlots, plot
from training.study.results import FILES, RESULT, STATUSES
from training.study.series import Series
from training.study.summary_tables import SummaryTable, hardware

RESULTS = f"{FILES[RESULT.name]}.parquet"

LISTED_RUNS = 12  # run names in the list behind a number; the query returns all
HARDWARE = "coalesce(gpu, cpu, device)"  # in SQL; `hardware` in Python
# Columns of summary tables that select the runs of a row, and their names, or an expression, in the results.
SELECTING_COLUMNS = {
    "setting": "setting", "network": "network", "color": "color", "noise, %": "noise_level", "method": "method",
    "hardware": HARDWARE,
}  # fmt: skip
RUN_COLUMNS = [
    "run", "status", "setting", "network", "color", "noise_level", "method", "seed", "final_accuracy",
    "best_accuracy", "best_epoch", "selected_accuracy", "memorized", "recovered", "epochs", "seconds", "error",
]  # fmt: skip
SHARE_COLUMNS = {
    "noise_level",
    "final_accuracy",
    "best_accuracy",
    "selected_accuracy",
    "memorized",
    "recovered",
}


def write_report(studies: Sequence[Path], output: Path | None = None) -> Path:
    """Draw the study, write the page `report.html` into `output` (default: the first folder), and return its path.

    Raises DataError if no run has finished.
    """
    folder = output or studies[0]
    path = folder / "report.html"
    write_text(path, render_page(plot(studies, folder), folder))
    return path


def render_page(plots: StudyPlots, output: Path) -> str:
    """Return the HTML of the report of a study that was drawn in `output`; equal results give an equal page."""
    rows = plots.results.to_pylist()
    counts = {status: _listing([r for r in rows if r["status"] == status], {"status": status})
              for status in STATUSES}  # fmt: skip
    return render(
        "training.study", "study.html", content_security_policy(),
        name=output.resolve().name,
        facts=plots.facts,
        counts={status: listing for status, listing in counts.items() if listing.count},
        sentences=plots.sentences,
        figures=[(figure, _inlined(figure.path("svg")), _inlined(figure.path("svg", column=True)))
                 for figure in plots.figures],
        # unfinished runs are in the table of all runs
        tables=[_page_table(table, rows) for table in plots.tables if table.name != "unfinished"],
        every=_runs_table(plots.results),
        missing=plots.missing,
        file=RESULTS,
    )  # fmt: skip


def _inlined(svg: Path) -> str:
    """Return an SVG file as the URL of an image, in which no script runs and nothing is fetched."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.read_bytes()).decode()}"


def _page_table(table: SummaryTable, results: Sequence[Mapping[str, Any]]) -> PageTable:
    """Return a summary table with another column: the runs of each row."""
    selecting = {index: column for index, column in enumerate(table.columns) if column in SELECTING_COLUMNS}
    columns = [_column(name, [row[index] for row in table.rows]) for index, name in enumerate(table.columns)]
    if "run" in table.columns or "method" not in table.columns:
        return PageTable(table.title, columns, table.rows, table.note, filterable=len(table.rows) > 5)
    finished = [row for row in results if row["status"] == "finished"]
    rows = []
    for row in table.rows:
        wanted: dict[str, Any] = {"status": "finished"}
        for index, column in selecting.items():
            value = row[index]
            if column == "noise, %":
                value = float(str(value or 0)) / 100
            if (column, value) != ("color", "all") and not isinstance(value, Series):
                wanted[SELECTING_COLUMNS[column]] = value
        if compared := tuple(cell for cell in row if isinstance(cell, Series)):
            wanted["method"] = compared
        matching = [
            result
            for result in finished
            if all(_matches(result, name, value) for name, value in wanted.items())
        ]
        rows.append((*map(_page_cell, row), _listing(matching, wanted)))
    return PageTable(
        table.title, [*columns, Column("results", "count")], rows, table.note, filterable=len(rows) > 5
    )


def _page_cell(cell: Any) -> Any:
    if not isinstance(cell, AccuracyEstimate):
        return str(cell) if isinstance(cell, Series) else cell
    return IntervalCell(cell.mean, cell.low, cell.high, symmetric=cell.source == "seeds")


def _matches(result: Mapping[str, Any], name: str, wanted: Any) -> bool:
    if isinstance(wanted, tuple):
        return any(series.has(result) for series in wanted)
    value: Any = hardware(result) if name == HARDWARE else result[name]
    return abs(value - wanted) < 1e-9 if isinstance(wanted, float) else bool(value == wanted)


def _listing(rows: Sequence[Mapping[str, Any]], wanted: Mapping[str, Any]) -> Listing:
    names = sorted({row["run"] for row in rows})
    conditions = " AND ".join(_condition(name, value) for name, value in wanted.items())
    query = f"SELECT run, seed, final_accuracy FROM '{RESULTS}' WHERE {conditions}"  # noqa: S608  shown, not run
    return Listing(len(rows), tuple(names[:LISTED_RUNS]), query)


def _condition(name: str, value: Any) -> str:
    if isinstance(value, tuple):
        pairs = [(series.method, setting) for series in value for setting in series.settings]
        return f"(method, setting) IN ({', '.join(f'({_literal(m)}, {_literal(s)})' for m, s in pairs)})"
    if isinstance(value, float):
        return f"abs({name} - {value:.6g}) < 1e-9"
    return f"{name} = {_literal(value)}" if value is not None else f"{name} IS NULL"


def _literal(value: Any) -> str:
    return "'" + str(value).replace("'", "''") + "'"


def _column(name: str, cells: Sequence[Any]) -> Column:
    numbers = [cell for cell in cells if isinstance(cell, int | float | AccuracyEstimate)]
    if not numbers:
        return Column(name)
    return Column(name, "count" if all(isinstance(cell, int) for cell in numbers) else "number")


def _runs_table(results: pa.Table) -> PageTable:
    """Return the table of all rows of the results, with the folders of their runs, without columns that are empty."""
    names = [name for name in RUN_COLUMNS if results[name].null_count < results.num_rows]
    rows = results.select(names).to_pylist()
    columns = []
    for name in names:
        column = _column(name.replace("_", " "), [row[name] for row in rows])
        columns.append(Column(column.title, "share") if name in SHARE_COLUMNS else column)
    cells = [
        tuple("" if row[name] is None and name == "error" else row[name] for name in names) for row in rows
    ]
    return PageTable("Every run: folder and results", columns, cells, filterable=True)


def verb(arguments: argparse.Namespace) -> int:
    """Write the page, and print its path."""
    print_result({"file": str(write_report(arguments.studies, arguments.output))}, arguments.json)
    return 0
