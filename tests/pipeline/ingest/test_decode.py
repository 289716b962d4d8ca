import io
import struct
import time
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.config import IngestConfig
from pipeline.ingest.decode import FORMATS, decode, encode, normalise
from pipeline.rejections import Rejected

Draw = Callable[[int, int, int], Image.Image]
Encode = Callable[..., bytes]
CONFIG = IngestConfig()


def refused(data: bytes, config: IngestConfig = CONFIG) -> Rejected:
    with pytest.raises(Rejected) as caught:
        decode(data, config)
    return caught.value


def pixels(data: bytes) -> np.ndarray:
    picture = decode(data, CONFIG).picture
    assert picture.mode == "RGB"
    return np.asarray(picture)


# What is accepted


@pytest.mark.parametrize("kind", FORMATS)
def test_every_accepted_format_is_told_by_its_content(smooth: Draw, encoded: Encode, kind: str) -> None:
    found = decode(encoded(smooth(0, 20, 10), kind), CONFIG)
    assert (found.format, found.width, found.height, found.picture.size) == (kind, 20, 10, (20, 10))


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_lossless_formats_give_back_their_pixels(smooth: Draw, encoded: Encode, kind: str) -> None:
    assert (pixels(encoded(smooth(1, 20, 10), kind)) == np.asarray(smooth(1, 20, 10))).all()


@pytest.mark.parametrize("mode", ["L", "1", "P"])
@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP"])
def test_grey_bilevel_and_palette_pictures_become_rgb(
    smooth: Draw, encoded: Encode, mode: str, kind: str
) -> None:
    picture = smooth(2, 20, 10).convert(mode)
    assert (pixels(encoded(picture, kind)) == np.asarray(picture.convert("RGB"))).all()


def test_16_bit_grey_is_scaled_not_cut(encoded: Encode) -> None:
    ramp = np.arange(256, dtype=np.uint16).reshape(16, 16)
    found = pixels(encoded(Image.fromarray(ramp * 257), "PNG"))
    assert (found == ramp[..., None]).all()
    deep = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16) // 3 * 3
    assert abs(pixels(encoded(Image.fromarray(deep), "PNG"))[..., 0] - deep / 257).max() < 1


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, data: bytes, *more: bytes) -> bytes:
    """A PNG by hand, for what Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = b"".join([chunk(b"IHDR", header), *more, chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b"")])
    return b"\x89PNG\r\n\x1a\n" + body


def test_16_bit_grey_with_a_transparent_value_is_accepted() -> None:
    grey = np.full((8, 8), 0x8080, ">u2")
    grey[0] = 0xFFFE
    lines = b"".join(b"\x00" + line.tobytes() for line in grey)
    found = pixels(png(8, 8, 16, 0, lines, chunk(b"tRNS", b"\xff\xfe")))
    assert (found[1:] == 0x80).all()
    assert (found[0] >= 0xFE).all()  # white, by its own colour as by what lies behind


def test_16_bit_colour_is_accepted() -> None:
    lines = (b"\x00" + b"\x40\x40\x80\x80\xc0\xc0" * 8) * 8
    assert (pixels(png(8, 8, 16, 2, lines)) == [0x40, 0x80, 0xC0]).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(encoded: Encode, mode: str) -> None:
    picture = Image.new(mode, (10, 10), (0,) * len(mode))
    picture.paste((0,) * (len(mode) - 1) + (255,), (0, 0, 5, 10))
    found = pixels(encoded(picture, "PNG"))
    assert (found[:, :5] == 0).all()
    assert (found[:, 5:] == 255).all()


def test_a_half_transparent_pixel_is_mixed_with_white(encoded: Encode) -> None:
    assert (
        pixels(encoded(Image.new("RGBA", (8, 8), (255, 0, 0, 127)), "PNG"))[0, 0] == [255, 128, 128]
    ).all()


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_palette_colour_becomes_white(encoded: Encode, kind: str) -> None:
    picture = Image.new("P", (10, 10), 0)
    picture.putpalette([200, 0, 0, 0, 0, 200])
    picture.paste(1, (0, 0, 5, 10))
    found = pixels(encoded(picture, kind, transparency=0))
    assert (found[:, :5] == [0, 0, 200]).all()
    assert (found[:, 5:] == 255).all()


def test_cmyk_jpegs_show_their_colours(encoded: Encode) -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    assert abs(pixels(encoded(cyan, "JPEG", quality=95))[8, 8].astype(int) - [0, 255, 255]).max() <= 6


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


def test_the_size_told_is_that_of_the_file_not_of_the_upright_picture(smooth: Draw, encoded: Encode) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    found = decode(encoded(smooth(3, 20, 10), "JPEG", exif=exif), CONFIG)
    assert (found.width, found.height, found.picture.size) == (20, 10, (10, 20))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_taken(encoded: Encode, kind: str) -> None:
    frames = [Image.new("RGB", (10, 10), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert (pixels(data) == [255, 0, 0]).all()


def test_a_jpeg_with_more_pictures_behind_it_is_a_jpeg(smooth: Draw, encoded: Encode) -> None:
    data = encoded(smooth(4, 20, 10), "MPO", save_all=True, append_images=[smooth(5, 20, 10)])
    found = decode(data, CONFIG)
    assert (found.format, found.picture.size) == ("JPEG", (20, 10))


def test_rubbish_behind_the_picture_does_no_harm(smooth: Draw, encoded: Encode) -> None:
    data = encoded(smooth(6, 20, 10), "PNG")
    assert (pixels(data + b"<script>") == pixels(data)).all()


# What is refused


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP"])
def test_a_picture_that_ends_early_is_truncated(encoded: Encode, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8).astype(np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    # A WebP's header tells its length, so that a cut one is not even opened.
    assert refused(data[: len(data) // 2]).code in ("truncated", "not_an_image" if kind == "WEBP" else "")


def test_damage_in_the_middle_of_a_png_is_told(smooth: Draw, encoded: Encode) -> None:
    data = bytearray(encoded(smooth(7, 64, 64), "PNG"))
    data[len(data) // 2] ^= 0xFF
    assert refused(bytes(data)).code == "truncated"


@pytest.mark.parametrize(
    "data",
    [
        b"<!DOCTYPE html><html>404</html>", b"<?xml version='1.0'?><svg/>", b"", b"\x00", b"x" * 100, b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"RIFF\x00\x00\x00\x00WEBP", b"PK\x03\x04", b"II+\x00" + b"\x00" * 20,
    ],
)  # fmt: skip
def test_what_is_no_image_is_told_with_its_first_bytes(data: bytes) -> None:
    found = refused(data)
    assert found.code == "not_an_image"
    assert found.detail.startswith("begins with ")
    assert found.detail.isprintable()


@pytest.mark.parametrize(
    ("kind", "name"), [("TIFF", "TIFF"), ("ICO", "ICO"), ("JPEG2000", "JPEG 2000"), ("PDF", "PDF")]
)
def test_images_of_other_formats_are_named_and_refused(
    smooth: Draw, encoded: Encode, kind: str, name: str
) -> None:
    found = refused(encoded(smooth(8, 32, 32), kind))
    assert (found.code, found.detail.startswith(f"{name}, not JPEG")) == ("bad_format", True)


@pytest.mark.parametrize(
    "data",
    [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7", b"%!PS-Adobe-3.0 EPSF", b"8BPS\x00\x01",
     b"\x00\x00\x00\x1cftypavif", b"\x00\x00\x00\x18ftypheic", b"\x00\x00\x00\x20ftypisom", b"MM\x00*"],
)  # fmt: skip
def test_formats_that_run_programs_or_open_large_decoders_are_refused_by_their_first_bytes(
    data: bytes,
) -> None:
    assert refused(data + b"\x00" * 32).code == "bad_format"


@pytest.mark.parametrize("kind", ["PPM", "PCX", "TGA", "SGI", "DDS"])
def test_formats_that_nobody_sends_are_not_even_tried(smooth: Draw, encoded: Encode, kind: str) -> None:
    assert refused(encoded(smooth(9, 32, 32), kind)).code == "not_an_image"


@pytest.mark.parametrize("side", [60_000, 10_000])
def test_a_bomb_is_refused_by_its_header_in_no_time(side: int) -> None:
    data = png(side, side, 8, 2, b"\x00" * 1000)
    start = time.monotonic()
    assert refused(data).code == "too_many_pixels"
    assert time.monotonic() - start < 1


def test_a_gif_whose_frame_is_larger_than_its_screen_is_refused(encoded: Encode) -> None:
    data = bytearray(encoded(Image.new("P", (10, 10)), "GIF"))
    frame = data.index(b",\x00\x00\x00\x00") + 5
    data[frame : frame + 4] = struct.pack("<HH", 60_000, 60_000)
    assert refused(bytes(data)).code == "too_many_pixels"


def test_the_limits_are_those_of_the_configuration(smooth: Draw, encoded: Encode) -> None:
    config = IngestConfig(max_pixels=200, min_side=10, size=10)
    assert decode(encoded(smooth(0, 20, 10), "PNG"), config).picture.size == (20, 10)
    assert refused(encoded(smooth(0, 21, 10), "PNG"), config).code == "too_many_pixels"
    assert refused(encoded(smooth(0, 20, 9), "PNG"), config).code == "too_small"
    assert refused(encoded(smooth(0, 9, 20), "PNG"), config).detail == "9×20"
    assert refused(encoded(smooth(0, 1, 1), "PNG")).code == "too_small"


def starts() -> list[bytes]:
    pictures = []
    for kind in FORMATS:
        buffer = io.BytesIO()
        Image.new("RGB", (16, 16), "red").save(buffer, kind)
        pictures.append(buffer.getvalue())
    return pictures


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.binary(max_size=300))
@example(b"")
def test_no_bytes_make_anything_but_a_picture_or_a_rejection(data: bytes) -> None:
    with pytest.raises(Rejected):
        decode(data, CONFIG)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    st.sampled_from(starts()),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6),
    st.data(),
)
def test_no_damage_to_a_picture_makes_anything_else(
    data: bytes, changes: list[tuple[int, int]], draw: st.DataObject
) -> None:
    damaged = bytearray(data)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    end = draw.draw(st.integers(0, len(damaged)))
    try:
        found = decode(bytes(damaged[:end]), CONFIG)
    except Rejected:
        return
    assert found.picture.mode == "RGB"
    assert found.format in FORMATS


# Normalising


def stripes() -> Image.Image:
    """30 × 10: the left third red, the middle green, the right blue."""
    picture = Image.new("RGB", (30, 10))
    for i, colour in enumerate(("red", "lime", "blue")):
        picture.paste(colour, (10 * i, 0, 10 * i + 10, 10))
    return picture


def test_crop_takes_the_middle() -> None:
    config = IngestConfig(size=10, resize="crop")
    assert (np.asarray(normalise(stripes(), config)) == [0, 255, 0]).all()
    assert (
        np.asarray(normalise(stripes().transpose(Image.Transpose.ROTATE_90), config)) == [0, 255, 0]
    ).all()


def test_exact_squeezes_the_whole_picture() -> None:
    found = np.asarray(normalise(stripes(), IngestConfig(size=9, min_side=3, resize="exact")))
    assert [tuple(found[4, x]) for x in (1, 4, 7)] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


SIZES = [(64, 64), (100, 50), (50, 100), (20, 10), (10, 20), (32, 32), (8, 500), (33, 31)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("resample", ["area", "lanczos"])
def test_sizes_follow_the_rule(smooth: Draw, size: tuple[int, int], resample: str) -> None:
    def sized(rule: str) -> tuple[int, int]:
        config = IngestConfig(size=32, resize=rule, resample=resample)  # type: ignore[arg-type]
        return normalise(smooth(0, *size), config).size

    assert sized("exact") == sized("crop") == (32, 32)
    assert sized("none") == size
    assert sized("fit") == tuple(max(1, round(side * 32 / max(size))) for side in size)


def test_a_picture_of_the_right_size_keeps_its_pixels(smooth: Draw) -> None:
    for rule in ("exact", "crop", "fit", "none"):
        found = normalise(smooth(0, 32, 32), IngestConfig(size=32, resize=rule))  # type: ignore[arg-type]
        assert (np.asarray(found) == np.asarray(smooth(0, 32, 32))).all()


def test_the_area_filter_averages(smooth: Draw) -> None:
    picture = smooth(0, 64, 64)
    means = np.asarray(picture, float).reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
    found = np.asarray(normalise(picture, IngestConfig(size=16, resize="exact")), float)
    assert abs(found - means).max() <= 1


# Encoding


@pytest.mark.parametrize(("name", "kind"), [("jpeg", "JPEG"), ("png", "PNG"), ("webp", "WEBP")])
def test_pictures_are_encoded_as_configured(smooth: Draw, name: str, kind: str) -> None:
    data = encode(smooth(0, 32, 32), IngestConfig(format=name))  # type: ignore[arg-type]
    found = Image.open(io.BytesIO(data))
    assert (found.format, found.size) == (kind, (32, 32))
    error = abs(np.asarray(found.convert("RGB"), float) - np.asarray(smooth(0, 32, 32), float))
    assert error.mean() <= (0 if name == "png" else 6)
    assert encode(smooth(0, 32, 32), IngestConfig(format=name)) == data  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["jpeg", "png", "webp"])
def test_no_metadata_of_the_original_survives(smooth: Draw, encoded: Encode, name: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "MyCamera-GPS"
    original = encoded(
        smooth(0, 32, 32), "JPEG", exif=exif, comment=b"MyComment", icc_profile=b"MyProfile" * 20
    )
    config = IngestConfig(size=32, format=name)  # type: ignore[arg-type]
    data = encode(normalise(decode(original, config).picture, config), config)
    assert not [word for word in (b"MyCamera", b"MyComment", b"MyProfile") if word in data]
    assert not Image.open(io.BytesIO(data)).info.keys() & {"exif", "comment", "icc_profile", "xmp"}


def test_a_lower_quality_makes_a_smaller_file(smooth: Draw) -> None:
    low, high = (len(encode(smooth(0, 64, 64), IngestConfig(quality=q))) for q in (20, 95))
    assert low < high
