"""Image files are decoded, normalized, encoded and fingerprinted (pipeline/ingest/process_image.py).

The first byte chooses a configuration, the rest is the file. A file gives an image or a `Rejected`, whatever the decoders
raise. An image never has more than `max_pixels` pixels nor a side below `min_side`; its stored form decodes to the size
that the configuration states; its fingerprints are finite.
"""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from pipeline.ingest.fingerprint import fingerprint_thumbnails
from pipeline.ingest.geometry import crop_and_size
from pipeline.ingest.normalize import decode_stored
from pipeline.ingest.process_image import process_image
from pipeline.ingest_config import IngestConfig
from pipeline.rejections import Rejected
from tests.fuzz.inputs import check_rejection, choice
from tests.fuzz.png_checksums import with_checksums
from tests.fuzz.targets import container
from tests.hostile.images import saved

LIMITS = {"min_side": 8, "max_pixels": 1 << 18}
CONFIGS = (
    IngestConfig(size=16, **LIMITS),
    IngestConfig(size=24, resize="exact", resample="lanczos", format="png", **LIMITS),
    IngestConfig(size=300, resize="fit", scaled_decoding=True, format="webp", **LIMITS),
    IngestConfig(resize="none", format="webp", **LIMITS),
    IngestConfig(resize="none", format="png", **LIMITS),
)
WORDS = container.WORDS


def seeds() -> Iterator[bytes]:
    """Yield the small files of tests/hostile, each under one of the configurations."""
    for number, data in enumerate(container.seeds()):
        yield bytes([number % len(CONFIGS)]) + data
    yield b"\x03" + saved(
        "PNG", Image.new("RGB", (20_000, 10))
    )  # WebP has at most 16,383 pixels along a side


def check(data: bytes) -> None:
    """Process a file."""
    number, file = choice(data, len(CONFIGS))
    if file.startswith(b"\x89PNG"):
        file = with_checksums(file)
    config = CONFIGS[number]
    try:
        processed = process_image(file, config)
    except Rejected as rejected:
        check_rejection(rejected)
        return
    width, height = processed.columns["width"], processed.columns["height"]
    assert width * height <= config.max_pixels
    assert min(width, height) >= config.min_side
    assert processed.columns["format"] in container.FORMATS
    stored = decode_stored(processed.encoded)
    expected = crop_and_size(width, height, config)[1]
    assert stored.mode in ("RGB", "RGBX")
    assert stored.size in (expected, expected[::-1])  # the EXIF orientation may exchange the sides
    prints = fingerprint_thumbnails([processed.thumbnail])
    assert np.isfinite(prints.contrast).all()
    assert np.isfinite(prints.sharpness).all()
