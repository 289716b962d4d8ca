"""The report of a build, in a browser."""

import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import expect

from pipeline.report.html import write_report
from tests.browser.conftest import Open
from tests.pipeline.report.planted import plant


@pytest.fixture(scope="session")
def report(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(write_report(str(built), str(tmp_path_factory.mktemp("report"))))


def test_the_page_loads_nothing_and_logs_nothing(open_page: Open, report: Path) -> None:
    watched = open_page(report)
    expect(watched.page.locator("h1")).to_have_text("controlled-noise")
    assert watched.outside() == [report.as_uri()]
    assert watched.said == []
    pictures = watched.page.locator("main img")
    assert pictures.count() > 30
    assert all(pictures.evaluate_all("all => all.map(one => one.complete && one.naturalWidth > 0)"))


def test_axe_finds_nothing_serious(open_page: Open, report: Path) -> None:
    assert open_page(report, "dark").findings() == []
    watched = open_page(report)
    watched.page.locator("button.ids").first.click()
    assert watched.findings() == []
    watched.page.keyboard.press("Escape")
    watched.page.locator("button.zoom").first.click()
    assert watched.findings() == []


def test_a_column_sorts_up_and_down(open_page: Open, report: Path) -> None:
    page = open_page(report).page
    table = page.locator("table", has=page.locator("caption", has_text="Sets: size"))
    head = table.locator("th", has_text="wrong").first
    wrong = "rows => rows.map(row => Number(row.cells[5].dataset.v ?? -1))"
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    down = table.locator("tbody tr").evaluate_all(wrong)
    assert down == sorted(down, reverse=True)
    assert max(down) == 30
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    up = table.locator("tbody tr").evaluate_all(wrong)
    assert [n for n in up if n >= 0] == sorted(n for n in up if n >= 0)
    assert up[-1] == -1  # the test set has no noise: missing values stay last
    table.locator("th", has_text="set").first.get_by_role("button").click()
    assert head.get_attribute("aria-sort") is None
    assert page.locator("[aria-sort]").count() == 1


def test_a_table_is_filtered_by_words(open_page: Open, report: Path) -> None:
    page = open_page(report).page
    region = page.get_by_role("region", name="Sets: size")
    row = region.locator("xpath=preceding-sibling::div[1]")
    row.get_by_role("searchbox").fill("RED 0.50")
    expect(row.get_by_role("status")).to_have_text("2 of 13 rows")
    assert region.locator("tbody tr:visible th").all_inner_texts() == ["red-0.50", "red-text-0.50"]
    row.get_by_role("searchbox").fill("")
    expect(row.get_by_role("status")).to_have_text("")
    assert region.locator("tbody tr:visible").count() == 13


def test_an_enlarged_image_has_its_facts(open_page: Open, report: Path) -> None:
    page = open_page(report).page
    leak = page.locator("figure", has=page.get_by_alt_text("web-ant-0", exact=True)).last
    leak.get_by_role("button").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    expect(dialog.get_by_role("heading")).to_have_text("web-ant-0")
    assert dialog.locator("img").count() == 2
    expect(dialog.locator("dd", has_text="test-ant-0")).to_be_visible()
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()


def test_the_keyboard_alone_is_enough(open_page: Open, report: Path) -> None:
    page = open_page(report).page
    press = page.keyboard.press
    press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.locator("main button.ids").first.focus()
    press("Enter")
    listing = page.locator("div.ids:popover-open")
    expect(listing.locator("code")).to_contain_text("SELECT")
    press("Escape")
    expect(listing).to_have_count(0)
    page.locator("th button").first.focus()
    press("Space")
    assert page.locator("[aria-sort]").count() == 1
    picture = page.locator("button.zoom").first
    picture.focus()
    assert picture.evaluate("one => getComputedStyle(one).outlineStyle") == "solid"
    press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert picture.evaluate("one => one === document.activeElement")


def test_what_strangers_planted_does_nothing(open_page: Open, built: Path, tmp_path: Path) -> None:
    copy = str(shutil.copytree(built, tmp_path / "copy"))
    plant(copy)
    watched = open_page(Path(write_report(copy)))
    page = watched.page
    for button in page.locator("#rejections ~ .scroll button.ids").all():
        button.click()
        page.keyboard.press("Escape")
    for button in page.locator("button.zoom").all()[:4]:
        button.click()
        page.keyboard.press("Escape")
    assert watched.said == []
    assert len(watched.outside()) == 1
    assert page.locator("main script, main svg[onload], main img[src=x]").count() == 0
    assert page.get_by_text("<script>alert(1)</script>").count() > 0
    assert not any(
        re.match("(?i)javascript", one.get_attribute("href") or "") for one in page.locator("a").all()
    )
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert watched.findings() == []


CUT = "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.querySelector('caption').textContent)"


def test_no_column_is_cut_on_a_laptop(open_page: Open, report: Path) -> None:
    page = open_page(report, width=1280).page
    assert page.locator(".scroll").evaluate_all(CUT) == []


def test_a_narrow_screen_scrolls_tables_and_not_the_page(open_page: Open, report: Path) -> None:
    page = open_page(report, width=390).page
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    region = page.get_by_role("region", name="Sets: size")
    assert region.evaluate("one => one.scrollWidth > one.clientWidth")
    region.evaluate("one => { one.scrollLeft = 200 }")
    left = "one => Math.round(one.getBoundingClientRect().left)"
    for fixed in ("caption", "tbody th"):  # they stay in sight
        assert region.locator(fixed).first.evaluate(left) == region.evaluate(left)


def test_a_list_of_counted_images_has_their_thumbnails(open_page: Open, report: Path) -> None:
    watched = open_page(report)
    page = watched.page
    page.get_by_role("region", name="Classes: images").locator("button.ids").first.click()
    lines = page.locator("div.ids:popover-open li")
    images = lines.locator("img")
    assert images.count() == lines.count() > 0
    page.wait_for_function(
        "[...document.querySelectorAll('div.ids:popover-open img')].every(one => one.naturalWidth)"
    )
    page.keyboard.press("Escape")
    page.get_by_role("region", name="Classes: images").locator("button.ids").first.click()
    assert images.count() == lines.count()  # not added twice
    assert watched.said == []


def test_it_prints_with_all_classes_open(open_page: Open, report: Path) -> None:
    page = open_page(report).page
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) > 3
    page.emulate_media(media="print")
    expect(page.locator("nav.sections")).to_be_hidden()
