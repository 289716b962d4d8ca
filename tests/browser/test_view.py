"""The image gallery of a build, in a browser."""

from playwright.sync_api import expect

from tests.browser.conftest import Open


def test_images_can_be_filtered_paged_and_enlarged(open_page: Open, viewed: str) -> None:
    watched = open_page(viewed)
    page = watched.page
    expect(page.get_by_role("heading", level=2).first).to_have_text("213 images")
    page.get_by_role("link", name="next").first.click()
    expect(page.get_by_text("page 2 of 4").first).to_be_visible()
    page.get_by_label("set").select_option("red-0.50")
    page.locator("select[name=label]").select_option("wrong")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("heading", level=2).first).to_have_text("30 images")
    expect(page.get_by_label("set")).to_have_value("red-0.50")
    page.wait_for_function(
        "[...document.querySelectorAll('main img')].every(one => one.complete && one.naturalWidth === 32)"
    )
    page.locator("button.zoom").first.click()
    expect(page.get_by_role("dialog").locator("dd", has_text="wrong")).to_be_visible()
    page.keyboard.press("Escape")
    page.goto(f"{viewed}?fate=leak")
    assert page.locator("figure.pair img").count() == 2
    assert watched.said == []
    assert watched.outside(viewed) == []


def test_axe_finds_nothing_serious(open_page: Open, viewed: str) -> None:
    assert open_page(viewed, "dark").findings() == []
    watched = open_page(viewed)
    watched.page.locator("button.zoom").first.click()
    assert watched.findings() == []


def test_the_keyboard_alone_is_enough(open_page: Open, viewed: str) -> None:
    page = open_page(viewed).page
    page.get_by_label("id contains").focus()
    page.keyboard.type("web-cow-1")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=2).first).to_have_text("11 images")


def test_what_strangers_ask_for_is_text(open_page: Open, viewed: str) -> None:
    watched = open_page(
        f"{viewed}?id=%22%3E%3Cscript%3Ealert(1)%3C/script%3E&class=%3Cimg%20src=x%20onerror=alert(1)%3E&page=%00"
    )
    expect(watched.page.get_by_role("heading", level=2).first).to_have_text("0 images")
    assert watched.said == []
