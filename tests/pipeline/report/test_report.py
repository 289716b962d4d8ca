import html
import json
import re
import shutil
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import duckdb
import pytest

from common.errors import DataError
from pipeline.__main__ import main
from pipeline.report.funnel import funnels
from pipeline.report.html import page, write_report
from pipeline.report.sheets import sheets
from pipeline.report.tables import BuildTables
from pipeline.report.thumbnails import thumbnails
from pipeline.report.workers import worker_chart
from pipeline.report.wrong_images import VIEW, wrong_table
from tests.pipeline.report.planted import HOSTILE, plant
from tests.pipeline.small_world import ONE_PROCESS, World

LISTING = re.compile(
    r'popovertarget="(ids-\d+)">([\d,]+)<span.*?<div id="\1".*?<pre><code>(.*?)</code></pre>', re.DOTALL
)


class Tags(HTMLParser):
    """All tags of a page with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list[tuple[str, str | None]]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))


@pytest.fixture(scope="module")
def text(built: Path) -> str:
    return page(str(built))


def views(text: str) -> str:
    [script] = re.findall(r'id="ask".*?<pre><code>(.*?)</code></pre>', text, re.DOTALL)
    return html.unescape(script)


def test_every_number_equals_the_count_of_its_query(
    built: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(built)
    asked = duckdb.connect()
    asked.execute(views(text))
    listings = LISTING.findall(text)
    assert len(listings) > 60
    for _, number, query in listings:
        [(count,)] = asked.execute(f"SELECT count(*) FROM ({html.unescape(query)})").fetchall()
        assert count == int(number.replace(",", "")), query


def test_the_funnel_equals_the_counts_of_the_split_stage(built: Path) -> None:
    reported = json.loads((built / "dataset" / "_manifest.json").read_text())["about"]["funnel"]
    found = funnels(BuildTables(str(built)), 0.0)
    left = {source: {step.name: step.left.count for step in steps} for source, steps in found.items()}
    lost = {step.name: step.lost.count for step in found["web"] if step.lost}
    assert left["clean"]["with an image"] == reported["clean_images"]
    assert left["clean"]["without leaks"] == reported["clean_images_kept"]
    assert left["test"]["with an image"] == reported["test_images"]
    assert left["web"]["with an image"] == reported["candidates"]
    assert left["web"]["distinct images"] == reported["wrong_images"]
    assert lost["decided"] == 1
    assert left["web"]["in red-0.50"] == left["clean"]["in red-0.50"] == 30
    for steps in found.values():
        for before, after in pairwise(steps):
            if after.lost:
                assert before.left.count == after.left.count + after.lost.count


def test_the_agreement_of_each_worker_has_an_interval(built: Path, text: str) -> None:
    workers = BuildTables(str(built)).rows("SELECT agreement, agreement_low, agreement_high FROM workers")
    assert workers
    for value, low, high in workers:
        assert 0 <= low <= value <= high <= 1
        assert f"{100 * value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]" in text


class ManyWorkers:
    """2,500 workers, of whom those with the fewest answers are suspicious."""

    def __init__(self) -> None:
        self.connection = duckdb.connect()
        self.connection.execute(
            "CREATE TABLE workers AS SELECT 'w' || i AS worker_id, 3000 - i AS answers, 0.9 AS agreement, "
            "0.8 AS agreement_low, 0.95 AS agreement_high, CASE WHEN i >= 2460 THEN 'chance' END AS suspicion "
            "FROM range(2500) AS numbers(i)"
        )

    def rows(self, query: str) -> list[tuple]:
        return self.connection.execute(query).fetchall()


def test_the_chart_of_many_workers_has_all_suspicious_ones_on_top() -> None:
    chart = worker_chart(ManyWorkers())  # type: ignore[arg-type]
    circles = re.findall(r'<circle class="(\w+)"', chart)
    assert circles == ["dot"] * 1960 + ["flagged"] * 40


def test_contact_sheets_do_not_depend_on_how_many_images_are_read_at_once(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = BuildTables(str(built))
    whole = sheets(tables, tables.lists.classes)
    monkeypatch.setattr("pipeline.report.sheets.AT_ONCE", 3)
    assert sheets(tables, tables.lists.classes) == whole
    monkeypatch.setattr("pipeline.report.sheets.BYTES", 2_000)
    read: list[int] = []
    monkeypatch.setattr(
        "pipeline.report.sheets.thumbnails",
        lambda tables, ids, side: read.append(len(ids)) or thumbnails(tables, ids, side),
    )
    assert (
        sum(len(each) for kinds in sheets(tables, tables.lists.classes).values() for each in kinds.values())
        < 30
    )
    assert sum(read) < 40, "reading ends when the bytes are used up"


def test_the_page_is_deterministic_and_loads_nothing(built: Path, text: str) -> None:
    assert page(str(built)) == text
    assert not re.search(r'(?:src|srcset|poster|data|action)="(?!data:image/webp;base64,)', text)
    assert text.count("<link") == text.count('<link rel="icon" href="data:,">') == 1
    assert len(text) < 1_000_000


@pytest.mark.parametrize(
    "stages",
    [("aggregate", "dedupe", "split", "dataset"), ("dedupe", "split", "dataset"), ("split", "dataset")],
)
def test_unfinished_stages_are_left_out(built: Path, tmp_path: Path, stages: tuple[str, ...]) -> None:
    copy = Path(shutil.copytree(built, tmp_path / "copy"))
    for stage in stages:
        shutil.rmtree(copy / stage)
    text = page(str(copy))
    assert "The stage split has not finished" in text
    assert ("The stage aggregate has not finished" in text) == ("aggregate" in stages)
    assert 'href="#sets"' not in text


def test_outdated_tables_are_left_out(world: World, built: Path, tmp_path: Path) -> None:
    """The keeper of a leak is not in the lists any more: its image is gone, the row of the duplicates is not."""
    copy = Path(shutil.copytree(built, tmp_path / "copy"))
    lines = (world.folder / "test.csv").read_text().splitlines(keepends=True)
    (tmp_path / "test.csv").write_text("".join(line for line in lines if not line.startswith("test-ant-0,")))
    command = ["ingest", "--config", str(world.config), "--output", str(copy), ONE_PROCESS]
    assert main([*command, f"--set=test=[{tmp_path / 'test.csv'}]"]) == 0
    text = page(str(copy))
    for stage in ("aggregate", "dedupe", "split"):
        assert f"The stage {stage} has not finished" in text


def test_the_command_writes_the_page_to_the_output_folder(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(built), "--output", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(tmp_path / "report.html"), "notes": []}
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert main(["report", str(tmp_path)]) == 1
    assert "ingest/retrievals: the ingest stage has not finished here" in capsys.readouterr().err


def test_untrusted_text_is_escaped(built: Path, tmp_path: Path) -> None:
    copy = str(shutil.copytree(built, tmp_path / "copy"))
    plant(copy)
    text = Path(write_report(copy)).read_text()
    assert "&lt;script&gt;alert(1)" in text
    tags = Tags()
    tags.feed(text)
    assert [tag for tag, _ in tags.found].count("script") == 1
    assert {name for _, pairs in tags.found for name, _ in pairs if name.startswith("on")} == set()
    assert "style" not in {name for _, pairs in tags.found for name, _ in pairs}
    links = [value or "" for tag, pairs in tags.found for name, value in pairs if name == "href"]
    assert {link.partition(":")[0] for link in links if not link.startswith("#")} == {"https", "data"}
    assert "\u202e" not in text
    assert max(map(len, HOSTILE)) == 10_000
    assert len(text) < 3_000_000


def test_a_query_cannot_reach_files(built: Path) -> None:
    tables = BuildTables(str(built))
    with pytest.raises(duckdb.Error, match="disabled"):
        tables.rows("SELECT * FROM read_csv('/etc/passwd')")
    with pytest.raises(duckdb.Error):
        tables.rows("SET enable_external_access = true")


def test_a_folder_without_a_build_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the ingest stage has not finished here"):
        page(str(tmp_path))


def test_wrong_images_are_divided_by_what_they_show(built: Path) -> None:
    tables = BuildTables(str(built))
    names = tables.lists.classes
    rows = {row[0]: row for row in wrong_table(tables, names).rows}
    kept = tables.rows(
        "SELECT class_name, count(*) FROM pairs WHERE source = 'web' AND verdict = 'no' AND removed IS NULL GROUP BY ALL"
    )
    assert {name: sum(cell.count for cell in rows[name][1:3] if cell) for name, _ in kept} == dict(kept)
    closed = tables.rows(
        "SELECT DISTINCT image_id FROM examples WHERE source = 'web' AND noise_type = 'closed'"
    )
    known = {
        image_id
        for (image_id,) in tables.rows(f"SELECT image_id FROM ({VIEW}) WHERE shown_class IS NOT NULL")
    }
    assert {image_id for (image_id,) in closed} <= known
