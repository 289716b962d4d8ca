"""Draw a study: all figures and tables in its folder, and one page that shows them; needs no torch."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from common.errors import DataError
from training.show import show
from training.study.figures import Figure, draw_all
from training.study.table import CURVE, read
from training.study.tables import PeopleTable, all_tables, finished


def plot(output: Path) -> tuple[list[Figure], list[PeopleTable], list[str]]:
    """Draw the study in `output` to `figures/`, `tables/` and summary.md; return what there is, and what is absent.

    Raises DataError if no run has finished.
    """
    results, curves = read(output), read(output, CURVE)
    if not finished(results):
        raise DataError(f"{output}: no run has finished; python -m training study tells why")
    figures, absent = draw_all(results, curves, output / "figures")
    tables = all_tables(results)
    for table in tables:
        table.write(output / "tables")
    (output / "summary.md").write_text(page(figures, tables, absent, output), encoding="utf-8")
    return figures, tables, absent


def page(
    figures: Sequence[Figure], tables: Sequence[PeopleTable], absent: Sequence[str], output: Path
) -> str:
    """Return the summary as Markdown."""
    parts = ["# The study\n"]
    for figure in figures:
        path = figure.png.relative_to(output).as_posix()
        parts.append(f"## {figure.title}\n\n![{figure.title}]({path})\n\n{figure.caption}\n")
    parts += [f"## {table.title}\n\n{table.note}\n\n{table.markdown()}" for table in tables]
    if absent:
        parts.append("## Not drawn\n\n" + "".join(f"- {line}\n" for line in absent))
    return "\n".join(parts)


def verb(arguments: argparse.Namespace) -> int:
    """Draw, and print where the files are."""
    figures, tables, absent = plot(arguments.study)
    paths = {figure.name: str(figure.png) for figure in figures}
    paths |= {f"table {table.name}": str(arguments.study / "tables" / f"{table.name}.md") for table in tables}
    paths |= {f"no {line.partition(': ')[0]}": line.partition(": ")[2] for line in absent}
    show({**paths, "summary": str(arguments.study / "summary.md")}, arguments.json)
    return 0
