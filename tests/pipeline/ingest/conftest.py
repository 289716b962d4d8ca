"""Pictures to ingest."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def smooth() -> Callable[[int, int, int], Image.Image]:
    """Pictures like photos: a few soft blobs, drawn from a seed, `width` × `height`."""

    def draw(seed: int, width: int, height: int) -> Image.Image:
        blobs = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8).astype(np.uint8)
        return Image.fromarray(blobs).resize((width, height), Image.Resampling.BICUBIC)

    return draw


Encode = Callable[..., bytes]
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")  # those that are accepted, as Pillow names them


@pytest.fixture
def encoded() -> Encode:
    """The bytes of a picture in a format of Pillow."""

    def encode(picture: Image.Image, kind: str, **options: object) -> bytes:
        buffer = io.BytesIO()
        picture.save(buffer, kind, **options)
        return buffer.getvalue()

    return encode
