"""The page of a study: each count of runs equals the number of rows that its query returns."""

import html
import re
from pathlib import Path

import duckdb
import pytest

from tests.training.study.synthetic_results import synthetic_results
from training.__main__ import main
from training.study import results as study_results
from training.study.plot import StudyPlots
from training.study.report import _page_table, render_page

LISTING = re.compile(
    r'popovertarget="(ids-\d+)">([\d,]+)<span.*?<div id="\1".*?<pre><code>(.*?)</code></pre>', re.DOTALL
)


def test_the_page_has_the_figures_and_the_queries_return_the_runs(
    drawn: tuple[Path, StudyPlots], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, plots = drawn
    text = render_page(plots, study)
    monkeypatch.chdir(study)
    listings = LISTING.findall(text)
    assert len(listings) > 12
    for _, number, query in listings:
        [(count,)] = duckdb.sql(f"SELECT count(*) FROM ({html.unescape(query)})").fetchall()
        assert count == int(number.replace(",", "")), query
    assert text.count("data:image/svg+xml;base64,") >= 5
    assert "<h1>&lt;made&gt; study</h1>" in text
    assert "&lt;img src=x&gt;: no memory" in text
    assert "<img src=x" not in text
    assert render_page(plots, study) == text
    assert len(text) < 5_000_000


def test_the_runs_of_a_row_of_times_are_those_of_its_hardware(drawn: tuple[Path, StudyPlots]) -> None:
    _, plots = drawn
    [costs] = [table for table in plots.tables if table.name == "costs"]
    page = _page_table(costs, plots.results.to_pylist())
    kinds = {row[2] for row in page.rows}
    assert kinds == {"Some CPU", "Other CPU"}
    for row in page.rows:
        assert row[-1].count == row[3]


def test_the_command_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = tmp_path / "study"
    study.mkdir()
    study_results.write(synthetic_results(levels=(0.4,), methods=("vanilla",), seeds=(0,)), study)
    assert main(["report", str(study), "--output", str(tmp_path / "there"), "--json"]) == 0
    assert str(tmp_path / "there" / "report.html") in capsys.readouterr().out
    assert (tmp_path / "there" / "report.html").read_text().startswith("<!doctype html>")
    assert main(["report", str(tmp_path)]) == 1
    assert "run the study first" in capsys.readouterr().err
