"""The page of a study: each count of runs equals the number of rows that its query returns."""

import html
import re
from pathlib import Path

import duckdb
import pytest

from tests.training.study.synthetic_results import with_a_short_setting
from training.__main__ import main
from training.study import results as study_results
from training.study.report import render_page

LISTING = re.compile(
    r'popovertarget="(ids-\d+)">([\d,]+)<span.*?<div id="\1".*?<pre><code>(.*?)</code></pre>', re.DOTALL
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "<made> study"
    folder.mkdir()
    results, curves = with_a_short_setting(levels=(0.0, 0.4), methods=("vanilla", "mentormix"), seeds=(0, 1))
    errors = results["error"].to_pylist()
    place = results.schema.get_field_index("error")
    status = results.schema.get_field_index("status")
    failed = ["failed", *results["status"].to_pylist()[1:]]
    results = results.set_column(status, results.schema.field(status), [failed])
    results = results.set_column(
        place, results.schema.field(place), [["<img src=x>: no memory", *errors[1:]]]
    )
    study_results.write((results, curves), folder)
    return folder


def test_the_page_has_the_figures_and_the_queries_return_the_runs(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = render_page([study], study)
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
    assert render_page([study], study) == text
    assert len(text) < 5_000_000


def test_the_command_writes_the_page(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(study), "--output", str(tmp_path / "there"), "--json"]) == 0
    assert str(tmp_path / "there" / "report.html") in capsys.readouterr().out
    assert (tmp_path / "there" / "report.html").read_text().startswith("<!doctype html>")
    assert main(["report", str(tmp_path)]) == 1
    assert "run the study first" in capsys.readouterr().err
