"""The expected pixels of the ingest tests are those that a browser displays on a white page."""

import base64

import numpy as np
from playwright.sync_api import Browser

from tests.pipeline.ingest.browser_images import CASES

KINDS = {b"\x89P": "png", b"GI": "gif", b"RI": "webp"}
DRAW = """async (address) => {
  const image = new Image();
  image.src = address;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const context = canvas.getContext("2d", {colorSpace: "srgb", willReadFrequently: true});
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0);
  return [canvas.width, ...context.getImageData(0, 0, canvas.width, canvas.height).data];
}"""


def test_the_browser_shows_the_pixels_that_the_ingest_tests_expect(browser: Browser) -> None:
    page, different = browser.new_page(), []
    for name, case in CASES.items():
        kind = KINDS.get(case.data[:2], "avif")
        address = f"data:image/{kind};base64,{base64.b64encode(case.data).decode()}"
        width, *values = page.evaluate(DRAW, address)
        shown = np.array(values, float).reshape(-1, width, 4)[..., :3]
        if shown.shape != case.pixels.shape or abs(shown - case.pixels).max() > case.tolerance:
            different.append(name)
    page.close()
    assert not different
