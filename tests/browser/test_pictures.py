"""Drawings of the documentation, in a browser."""

from pathlib import Path

import pytest

from tests.browser.conftest import Open

FLOW = Path(__file__).parents[2] / "docs" / "pictures" / "flow.svg"
OUTSIDE = """() => {
  const boxes = [...document.querySelectorAll("rect")].map((rect) => rect.getBBox());
  const inside = (text, box) => text.x >= box.x + 3 && text.x + text.width <= box.x + box.width - 3
    && text.y >= box.y && text.y + text.height <= box.y + box.height;
  return [...document.querySelectorAll("text")].filter((text) => !boxes.some((box) => inside(text.getBBox(), box)))
    .map((text) => text.textContent);
}"""


@pytest.mark.parametrize("font", ["system-ui, sans-serif", "DejaVu Sans"])  # the second is a wide one
def test_the_texts_of_the_flow_are_inside_their_boxes(open_page: Open, font: str) -> None:
    drawing = FLOW.read_text(encoding="utf-8")
    page = open_page("about:blank").page
    page.set_content(drawing.replace("system-ui, sans-serif", font))
    assert page.locator("rect").count() == 11
    assert page.evaluate(OUTSIDE) == []
