"""Draw a study: its figures and tables in a folder, and a Markdown page that shows them. Needs no torch."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from common.atomic_file import write_text
from common.errors import DataError
from page.markdown import markdown_text
from page.text import visible_text
from training.printing import print_result
from training.study.conclusions import study_sentences
from training.study.figures import StudyFigure, draw_all
from training.study.results import merge_into
from training.study.study_facts import study_facts
from training.study.summary_tables import SummaryTable, all_tables, finished

LONGEST_TEXT = 1000  # characters of one fact or sentence


@dataclass(frozen=True)
class StudyPlots:
    """What was drawn of a study; `missing`: the figures that were not, with the reasons."""

    results: pa.Table
    facts: list[tuple[str, str]]
    sentences: list[str]
    figures: list[StudyFigure]
    tables: list[SummaryTable]
    missing: list[str]


def plot(studies: Sequence[Path], output: Path) -> StudyPlots:
    """Draw a study to `figures/`, `tables/` and `summary.md` in `output`.

    The result tables of shards, and of several folders, are merged first, into `output`. Raises DataError if no run
    has finished.
    """
    results, curves = merge_into(output, studies)
    if not finished(results):
        raise DataError(f"{studies[0]}: no run has finished; run the study (python -m training study) first")
    figures, missing = draw_all(results, curves, output / "figures")
    tables = all_tables(results)
    for table in tables:
        table.write(output / "tables")
    facts, sentences = study_facts(results, studies), study_sentences(results)
    plots = StudyPlots(results, facts, sentences, figures, tables, missing)
    write_text(output / "summary.md", _summary_page(plots, output))
    return plots


def _summary_page(plots: StudyPlots, output: Path) -> str:
    """Return the summary as Markdown."""
    parts = ["# Study\n", "".join(f"- {title}: {_escaped(text)}\n" for title, text in plots.facts)]
    if plots.sentences:
        parts.append("".join(f"- {_escaped(sentence)}\n" for sentence in plots.sentences))
    for figure in plots.figures:
        png, page, column = (
            path.relative_to(output).as_posix()
            for path in (figure.path("png"), figure.path("pdf"), figure.path("pdf", column=True))
        )
        parts.append(
            f"## {_escaped(figure.title)}\n\n![{_escaped(figure.title)}]({png})\n\n{_escaped(figure.caption)}\n\n"
            f"For papers: [two columns wide]({page}), [one column wide]({column}).\n"
        )
    parts += [f"## {table.title}\n\n{_escaped(table.note)}\n\n{table.markdown()}" for table in plots.tables]
    if plots.missing:
        parts.append(
            "## Figures without data\n\n" + "".join(f"- {_escaped(line)}\n" for line in plots.missing)
        )
    return "\n".join(parts)


def _escaped(text: str) -> str:
    return markdown_text(visible_text(text, LONGEST_TEXT))


def verb(arguments: argparse.Namespace) -> int:
    """Draw the study, and print the paths of the files."""
    output = arguments.output or arguments.studies[0]
    plots = plot(arguments.studies, output)
    paths = {figure.name: str(figure.path("png")) for figure in plots.figures}
    paths |= {f"table {table.name}": str(output / "tables" / f"{table.name}.md") for table in plots.tables}
    paths |= {f"no {line.partition(': ')[0]}": line.partition(": ")[2] for line in plots.missing}
    print_result({**paths, "summary": str(output / "summary.md")}, arguments.json)
    return 0
