import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.ingest.decode import decode
from pipeline.ingest.normalize import normalize
from pipeline.ingest_config import IngestConfig
from pipeline.rejections import Rejected
from tests.pipeline.ingest.conftest import FORMATS
from tests.pipeline.ingest.png_files import ADAM7, png

Draw = Callable[[int, int, int], Image.Image]
Encode = Callable[..., bytes]
CONFIG = IngestConfig(scaled_decoding=False)
UNSIZED = IngestConfig(resize="none")


def refused(data: bytes, config: IngestConfig = CONFIG) -> Rejected:
    with pytest.raises(Rejected) as caught:
        decode(data, config)
    return caught.value


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(normalize(decode(data, CONFIG), UNSIZED).convert("RGB"))


# Accepted files


@pytest.mark.parametrize("kind", FORMATS)
def test_accepted_formats_are_recognized_by_content(smooth: Draw, encoded: Encode, kind: str) -> None:
    result = decode(encoded(smooth(0, 20, 10), kind), CONFIG)
    assert (result.format, result.width, result.height, result.pixels.shape) == (kind, 20, 10, (10, 20, 4))


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_lossless_formats_keep_their_pixels(smooth: Draw, encoded: Encode, kind: str) -> None:
    assert (pixels(encoded(smooth(1, 20, 10), kind)) == np.asarray(smooth(1, 20, 10))).all()


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, None), (2, Image.Transpose.FLIP_LEFT_RIGHT), (3, Image.Transpose.ROTATE_180),
        (4, Image.Transpose.FLIP_TOP_BOTTOM), (5, Image.Transpose.TRANSPOSE), (6, Image.Transpose.ROTATE_270),
        (7, Image.Transpose.TRANSVERSE), (8, Image.Transpose.ROTATE_90),
    ],
)  # fmt: skip
def test_exif_orientation_is_applied(
    smooth: Draw, encoded: Encode, orientation: int, turn: Image.Transpose | None
) -> None:
    picture, exif = smooth(3, 20, 10), Image.Exif()
    exif[0x0112] = orientation
    upright = picture if turn is None else picture.transpose(turn)
    assert (pixels(encoded(picture, "PNG", exif=exif)) == np.asarray(upright)).all()


def test_width_and_height_are_those_before_the_orientation_is_applied(smooth: Draw, encoded: Encode) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    result = decode(encoded(smooth(3, 20, 10), "JPEG", exif=exif), CONFIG)
    assert (result.width, result.height, result.orientation) == (20, 10, 6)
    assert normalize(result, UNSIZED).size == (10, 20)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF"])
def test_the_first_frame_of_an_animation_is_used_and_flagged(encoded: Encode, kind: str) -> None:
    frames = [Image.new("RGB", (10, 10), color) for color in ("red", "lime", "blue")]
    options = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100}}.get(kind, {})
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert abs(pixels(data).astype(int) - [255, 0, 0]).max() <= (2 if kind == "AVIF" else 0)
    assert decode(data, CONFIG).animated
    assert not decode(encoded(frames[0], kind), CONFIG).animated


def test_a_jpeg_followed_by_more_images_is_decoded(smooth: Draw, encoded: Encode) -> None:
    data = encoded(smooth(4, 20, 10), "MPO", save_all=True, append_images=[smooth(5, 20, 10)])
    result = decode(data, CONFIG)
    assert (result.format, result.pixels.shape, result.animated) == ("JPEG", (10, 20, 4), False)


def test_data_after_the_image_is_ignored(smooth: Draw, encoded: Encode) -> None:
    data = encoded(smooth(6, 20, 10), "PNG")
    assert (pixels(data + b"<script>") == pixels(data)).all()


# Rejected files


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_that_ends_early_is_truncated(encoded: Encode, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8).astype(np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    assert refused(data[: len(data) // 2]).code == "truncated"


def test_damage_in_the_middle_of_a_png_is_truncated(smooth: Draw, encoded: Encode) -> None:
    data = bytearray(encoded(smooth(7, 64, 64), "PNG"))
    data[len(data) // 2] ^= 0xFF
    assert refused(bytes(data)).code == "truncated"


@pytest.mark.parametrize("missing", [1, 2, 10])
def test_a_png_without_its_last_lines_is_truncated(missing: int) -> None:
    line = b"\x00" + b"\xc8" * 3 * 20
    assert refused(png(20, 20, 8, 2, line * (20 - missing))).code == "truncated"
    black = b"\x00" * len(line)
    assert decode(png(20, 20, 8, 2, line * (20 - missing) + black * missing), CONFIG).height == 20


@pytest.mark.parametrize("height", [20, 21])
def test_an_interlaced_png_without_its_last_passes_is_truncated(height: int) -> None:
    passes = [
        (b"\x00" + b"\xc8" * 3 * -(-(20 - x) // across)) * -(-(height - y) // down)
        for x, y, across, down in ADAM7
    ]
    assert (pixels(png(20, height, 8, 2, b"".join(passes), interlaced=True)) == 0xC8).all()
    for count in range(1, 7):
        assert refused(png(20, height, 8, 2, b"".join(passes[:count]), interlaced=True)).code == "truncated"
    assert refused(png(20, height, 8, 2, b"".join(passes)[:-1], interlaced=True)).code == "truncated"


@pytest.mark.parametrize(
    "data",
    [
        b"<!DOCTYPE html><html>404</html>", b"", b"\x00", b"x" * 100, b"BM", b"BMW sells cars and no pictures",
        b"PK\x03\x04", b"II+\x00" + b"\x00" * 20, b"\xff\xd8", b"RIFF\x00\x00\x00\x00WAVE",
    ],
)  # fmt: skip
def test_the_rejection_of_other_files_quotes_their_first_bytes(data: bytes) -> None:
    result = refused(data)
    assert result.code == "not_an_image"
    assert result.detail.startswith("the file begins with ")
    assert result.detail.isprintable()


@pytest.mark.parametrize(
    "data", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\x00\x00\x00\x00WEBP", b"BM" + b"\x00" * 12 + b"\x28\0\0\0"]
)  # fmt: skip
def test_a_file_with_only_the_start_of_an_image_is_truncated(data: bytes) -> None:
    assert refused(data).code == "truncated"


@pytest.mark.parametrize(
    ("kind", "name"), [("TIFF", "TIFF"), ("ICO", "ICO"), ("JPEG2000", "JPEG 2000"), ("PDF", "PDF")]
)
def test_the_rejection_of_other_image_formats_names_them(
    smooth: Draw, encoded: Encode, kind: str, name: str
) -> None:
    result = refused(encoded(smooth(8, 32, 32), kind))
    assert (result.code, result.detail.startswith(f"{name}; give a JPEG")) == ("bad_format", True)


@pytest.mark.parametrize(
    "data",
    [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<?xml version='1.0'?>\n<svg/>", b"%PDF-1.7", b"%!PS-Adobe-3.0 EPSF", b"8BPS\x00\x01",
     b"\x00\x00\x00\x18ftypheic", b"\x00\x00\x00\x20ftypisom", b"MM\x00*"],
)  # fmt: skip
def test_documents_and_vector_graphics_are_rejected_by_their_first_bytes(
    data: bytes,
) -> None:
    assert refused(data + b"\x00" * 32).code == "bad_format"


@pytest.mark.parametrize("kind", ["PPM", "PCX", "TGA", "SGI", "DDS"])
def test_rare_formats_of_pillow_are_not_tried(smooth: Draw, encoded: Encode, kind: str) -> None:
    assert refused(encoded(smooth(9, 32, 32), kind)).code == "not_an_image"


@pytest.mark.parametrize("side", [60_000, 10_000])
def test_a_decompression_bomb_is_rejected_by_its_header(side: int) -> None:
    data = png(side, side, 8, 2, b"\x00" * 1000)
    assert refused(data).code == "too_many_pixels"  # its pixels are damaged: reading them gives another code


def test_a_gif_with_a_frame_above_the_pixel_limit_is_rejected(encoded: Encode) -> None:
    data = bytearray(encoded(Image.new("P", (10, 10)), "GIF"))
    frame = data.index(b",\x00\x00\x00\x00") + 5
    data[frame : frame + 4] = struct.pack("<HH", 60_000, 60_000)
    assert refused(bytes(data)).code == "too_many_pixels"


def test_limits_come_from_the_configuration(smooth: Draw, encoded: Encode) -> None:
    config = IngestConfig(max_pixels=200, min_side=10, size=10)
    assert decode(encoded(smooth(0, 20, 10), "PNG"), config).pixels.shape == (10, 20, 4)
    assert refused(encoded(smooth(0, 21, 10), "PNG"), config).code == "too_many_pixels"
    assert refused(encoded(smooth(0, 20, 9), "PNG"), config).code == "too_small"
    assert refused(encoded(smooth(0, 9, 20), "PNG"), config).detail == "9×20"
    assert refused(encoded(smooth(0, 1, 1), "PNG")).code == "too_small"


@pytest.mark.parametrize("animated", [False, True])
def test_avif_frames_are_measured_not_the_header(encoded: Encode, animated: bool) -> None:
    more = {"save_all": True, "append_images": [Image.new("RGB", (200, 100))]} if animated else {}
    data = encoded(Image.new("RGB", (200, 100), "red"), "AVIF", **more)
    small = data.replace(struct.pack(">II", 200, 100), struct.pack(">II", 20, 10))
    assert small != data
    config = IngestConfig(max_pixels=5000)
    assert refused(small, config).detail == refused(data, config).detail == "200×100"
    assert decode(small, IngestConfig(max_pixels=20_000)).width == 20


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.binary(max_size=300))
@example(b"")
def test_no_bytes_make_anything_but_a_picture_or_a_rejection(data: bytes) -> None:
    with pytest.raises(Rejected):
        decode(data, CONFIG)
