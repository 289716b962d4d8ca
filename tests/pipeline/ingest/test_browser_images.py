"""Decoded pixels are those that browsers show; tests/browser/test_pixels.py checks Chromium."""

import pytest

from pipeline.ingest.decode import decode
from pipeline.ingest_config import IngestConfig
from tests.pipeline.ingest.browser_images import CASES

CONFIG = IngestConfig(scaled_decoding=False)


@pytest.mark.parametrize("name", CASES)
def test_a_file_has_the_pixels_that_its_specification_gives(name: str) -> None:
    case = CASES[name]
    result = decode(case.data, CONFIG).pixels[..., :3].astype(float)
    assert result.shape == case.pixels.shape
    assert abs(result - case.pixels).max() <= case.tolerance
