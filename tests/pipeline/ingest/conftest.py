"""Images to ingest."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def smooth() -> Callable[[int, int, int], Image.Image]:
    """Return a function that draws photo-like images of soft blobs: (seed, width, height)."""

    def draw(seed: int, width: int, height: int) -> Image.Image:
        blobs = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8).astype(np.uint8)
        return Image.fromarray(blobs).resize((width, height), Image.Resampling.BICUBIC)

    return draw


Encode = Callable[..., bytes]
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")  # accepted formats, by their names in Pillow


@pytest.fixture
def encoded() -> Encode:
    """Return a function that encodes an image in a format of Pillow."""

    def encode(image: Image.Image, kind: str, **options: object) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    return encode
