"""JPEGs are decoded without Pillow to the pixels that Pillow gives, and arrays share their memory with images."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from pipeline.ingest import decode as decode_module
from pipeline.ingest import pixels as pixels_module
from pipeline.ingest.decode import decode
from pipeline.ingest.normalize import decode_stored, encode, normalize
from pipeline.ingest.pixels import image_of, jpeg_pixels, pixels_of
from pipeline.ingest.thumbnail import thumbnail
from pipeline.ingest_config import IngestConfig
from pipeline.rejections import Rejected
from tests.pipeline.ingest import icc_profiles

Draw = Callable[[int, int, int], Image.Image]
Encode = Callable[..., bytes]
SIZE = (301, 203)


def noise(seed: int, width: int, height: int) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3))
    return Image.fromarray(values.astype(np.uint8))


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
@pytest.mark.parametrize(
    "options",
    [{"subsampling": 0}, {"subsampling": 1}, {"subsampling": 2}, {"progressive": True}, {"keep_rgb": True}],
    ids=str,
)
def test_pixels_of_a_jpeg_are_those_of_pillow(
    encoded: Encode, options: dict[str, object], factor: int
) -> None:
    data = encoded(noise(0, *SIZE), "JPEG", quality=85, **options)
    image = Image.open(io.BytesIO(data))
    image.draft(None, (SIZE[0] // factor, SIZE[1] // factor))
    pixels = jpeg_pixels(data, image.size)
    assert pixels is not None
    assert (pixels[..., :3] == np.asarray(image)).all()


def test_a_damaged_jpeg_and_one_of_another_size_have_no_pixels(encoded: Encode) -> None:
    data = encoded(noise(1, *SIZE), "JPEG")
    assert jpeg_pixels(data) is not None
    assert jpeg_pixels(data[:-2]) is None  # Pillow accepts it
    assert jpeg_pixels(data[: len(data) // 2]) is None
    assert jpeg_pixels(data, (200, 100)) is None


def test_images_share_the_memory_of_pixels(smooth: Draw) -> None:
    pixels = pixels_of(smooth(0, 20, 10)).copy()
    image = image_of(pixels)
    assert image.convert("RGB") == smooth(0, 20, 10)
    pixels[3, 7] = [1, 2, 3, 0]
    assert image.convert("RGB").getpixel((7, 3)) == (1, 2, 3)


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_the_unused_byte_changes_neither_files_nor_thumbnails(smooth: Draw, kind: str) -> None:
    config = IngestConfig(format=kind)  # type: ignore[arg-type]
    image, pixels = smooth(1, 90, 70), pixels_of(smooth(1, 90, 70)).copy()
    for byte in (0, 99, 255):
        pixels[..., 3] = byte
        assert encode(image_of(pixels), config) == encode(image, config)
        assert thumbnail(image_of(pixels)) == thumbnail(image)


def outcome(data: bytes, config: IngestConfig) -> object:
    try:
        decoded = decode(data, config)
    except Rejected as rejected:
        return rejected.code, rejected.detail
    facts = decoded.format, decoded.width, decoded.height, decoded.reduction, decoded.orientation
    return facts, normalize(decoded, config).convert("RGB").tobytes()


def files(encoded: Encode) -> dict[str, bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = encoded(noise(2, *SIZE), "JPEG", exif=exif, comment=b"a comment")
    middle = len(plain) // 2
    return {
        "plain": plain,
        "progressive": encoded(noise(2, *SIZE), "JPEG", progressive=True),
        "gray": encoded(noise(2, *SIZE).convert("L"), "JPEG"),
        "CMYK": encoded(noise(2, *SIZE).convert("CMYK"), "JPEG"),
        "with a profile": encoded(
            noise(2, *SIZE), "JPEG", icc_profile=icc_profiles.profile(2.2, icc_profiles.ADOBE_RGB)
        ),
        "without an end": plain[:-2],
        "cut": plain[:middle],
        "damaged": plain[:middle] + b"\xff\xd9" + plain[middle:],
        "more data": plain + b"\xff\xda" * 200,
        "a short JFIF segment": plain[:2] + b"\xff\xe0\x00\x07JFIF\x00" + plain[20:],
        "two frames": plain.replace(
            b"\xff\xc0\x00\x11", b"\xff\xc0\x00\x11" + b"\x08\x00\x10\x00\x10\x03", 1
        ),
        "without pixels": encoded(noise(2, 300, 9), "JPEG").replace(
            b"\x00\x09\x01\x2c", b"\x00\x00\x01\x2c", 1
        ),
        "small": encoded(noise(2, 300, 7), "JPEG"),
        "large": encoded(noise(2, 400, 300), "JPEG"),
    }


NAMES = tuple(files(lambda *_, **__: b""))


@pytest.mark.parametrize("name", NAMES)
def test_every_jpeg_has_the_outcome_that_it_has_by_way_of_pillow(
    encoded: Encode, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    data = files(encoded)[name]
    configs = [
        IngestConfig(size=32, max_pixels=100_000),
        IngestConfig(size=84, resample="lanczos", resize="fit", max_pixels=100_000),
        IngestConfig(size=100, scaled_decoding=False, max_pixels=100_000),
    ]
    here = [outcome(data, config) for config in configs]
    monkeypatch.setattr(decode_module, "jpeg_pixels", lambda *_: None)
    assert here == [outcome(data, config) for config in configs]


def test_an_ordinary_jpeg_is_decoded_without_pillow(encoded: Encode, monkeypatch: pytest.MonkeyPatch) -> None:
    data = files(encoded)["plain"]
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("Pillow was asked"))
    assert decode(data, IngestConfig()).orientation == 6


def declare_size(data: bytes, height: int, width: int) -> bytes:
    """Return a baseline JPEG whose header declares another size."""
    start = data.index(b"\xff\xc0") + 5
    return data[:start] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + data[start + 4 :]


@pytest.mark.parametrize(("height", "width"), [(65_500, 65_500), (65_500, 8_000)])
def test_no_memory_is_taken_for_a_jpeg_that_declares_too_many_pixels(
    encoded: Encode, monkeypatch: pytest.MonkeyPatch, height: int, width: int
) -> None:
    data = declare_size(files(encoded)["plain"], height, width)
    monkeypatch.setattr(pixels_module, "decode_jpeg", lambda *_, **__: pytest.fail("the JPEG was decoded"))
    with pytest.raises(Image.DecompressionBombError):
        decode_stored(data)
