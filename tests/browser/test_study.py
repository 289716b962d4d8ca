"""The report of a study, in a browser."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.training.study.synthetic_results import synthetic_results
from training.study import results as study_results
from training.study.report import write_report


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    study_results.write(synthetic_results((0.0, 0.4), methods=("vanilla", "mentormix"), seeds=(0, 1)), folder)
    return write_report([folder])


def test_figures_are_seen_and_nothing_is_asked_for(open_page: Open, report: Path) -> None:
    watched = open_page(report)
    figures = watched.page.locator("main figure img")
    assert figures.count() >= 5
    assert all(figures.evaluate_all("all => all.map(one => one.complete && one.naturalWidth > 200)"))
    assert watched.outside() == [report.as_uri()]
    assert watched.said == []


def test_axe_finds_nothing_serious(open_page: Open, report: Path) -> None:
    assert open_page(report).findings() == []
    assert open_page(report, "dark").findings() == []


def test_runs_are_filtered_and_sorted(open_page: Open, report: Path) -> None:
    page = open_page(report).page
    region = page.get_by_role("region", name="Every run")
    row = region.locator("xpath=preceding-sibling::div[1]")
    row.get_by_role("searchbox").fill("finished mentormix red")
    names = region.locator("tbody tr:visible th").all_inner_texts()
    assert names
    assert all("mentormix" in name for name in names)
    expect(row.get_by_role("status")).to_contain_text(f"{len(names)} of ")
    head = region.locator("th", has_text="final accuracy")
    head.get_by_role("button").click()
    shares = region.locator("tbody tr:visible td:nth-child(9)").evaluate_all(
        "all => all.map(one => +one.dataset.v)"
    )
    assert shares == sorted(shares, reverse=True)


def test_a_number_opens_its_runs(open_page: Open, report: Path) -> None:
    page = open_page(report).page
    page.get_by_role("region", name="All cells").locator("button.ids").first.click()
    expect(page.locator("div.ids:popover-open li").first).to_be_visible()
    expect(page.locator("div.ids:popover-open code")).to_contain_text("FROM 'results.parquet' WHERE")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_itself_does_not_scroll_sideways(open_page: Open, report: Path, width: int) -> None:
    page = open_page(report, width=width).page
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("header dl.facts dt").all_inner_texts() == [
        "grid"
    ]  # nothing else is known of these results
    if width == 1280:
        cut = "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.textContent.trim().slice(0, 40))"
        assert page.locator(".scroll").evaluate_all(cut) == []
