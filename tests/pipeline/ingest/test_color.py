import struct
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageCms

from pipeline.ingest import color_profiles
from pipeline.ingest.decode import decode
from pipeline.ingest_config import IngestConfig
from tests.pipeline.ingest import icc_profiles
from tests.pipeline.ingest.png_files import chunk, png

Draw = Callable[[int, int, int], Image.Image]
Encode = Callable[..., bytes]
CONFIG = IngestConfig(scaled_decoding=False)


def pixels(data: bytes) -> np.ndarray:
    return decode(data, CONFIG).pixels[..., :3]


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_a_white_to_which_a_cone_does_not_answer_gives_no_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real matrix it depends on the rounding of the processor whether such a white exists."""
    points = (0, 100_000, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000)
    gamma, chromaticities = struct.pack(">I", 45_455), struct.pack(">8i", *points)
    assert color_profiles.gamma_profile(gamma, chromaticities)
    monkeypatch.setattr(color_profiles, "_BRADFORD", np.eye(3))
    assert color_profiles.gamma_profile(gamma, chromaticities) == b""


@pytest.mark.parametrize("mode", ["L", "1", "P"])
@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP"])
def test_gray_bilevel_and_palette_images_become_rgb(
    smooth: Draw, encoded: Encode, mode: str, kind: str
) -> None:
    picture = smooth(2, 20, 10).convert(mode)
    assert (pixels(encoded(picture, kind)) == np.asarray(picture.convert("RGB"))).all()


def test_16_bit_gray_is_scaled_not_truncated(encoded: Encode) -> None:
    ramp = np.arange(256, dtype=np.uint16).reshape(16, 16)
    result = pixels(encoded(Image.fromarray(ramp * 257), "PNG"))
    assert (result == ramp[..., None]).all()
    deep = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16) // 3 * 3
    assert abs(pixels(encoded(Image.fromarray(deep), "PNG"))[..., 0] - deep / 257).max() < 1


def test_16_bit_gray_with_a_transparent_value_is_accepted() -> None:
    gray = np.full((8, 8), 0x8080, ">u2")
    gray[0] = 0xFFFE
    lines = b"".join(b"\x00" + line.tobytes() for line in gray)
    result = pixels(png(8, 8, 16, 0, lines, chunk(b"tRNS", b"\xff\xfe")))
    assert (result[1:] == 0x80).all()
    assert (result[0] >= 0xFE).all()  # white, both as its own color and as the background


def test_16_bit_color_is_accepted() -> None:
    lines = (b"\x00" + b"\x40\x40\x80\x80\xc0\xc0" * 8) * 8
    assert (pixels(png(8, 8, 16, 2, lines)) == [0x40, 0x80, 0xC0]).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(encoded: Encode, mode: str) -> None:
    picture = Image.new(mode, (10, 10), (0,) * len(mode))
    picture.paste((0,) * (len(mode) - 1) + (255,), (0, 0, 5, 10))
    result = pixels(encoded(picture, "PNG"))
    assert (result[:, :5] == 0).all()
    assert (result[:, 5:] == 255).all()


def test_a_half_transparent_pixel_is_mixed_with_white(encoded: Encode) -> None:
    assert (
        pixels(encoded(Image.new("RGBA", (8, 8), (255, 0, 0, 127)), "PNG"))[0, 0] == [255, 128, 128]
    ).all()


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_palette_color_becomes_white(encoded: Encode, kind: str) -> None:
    picture = Image.new("P", (10, 10), 0)
    picture.putpalette([200, 0, 0, 0, 0, 200])
    picture.paste(1, (0, 0, 5, 10))
    result = pixels(encoded(picture, kind, transparency=0))
    assert (result[:, :5] == [0, 0, 200]).all()
    assert (result[:, 5:] == 255).all()


def test_cmyk_jpegs_show_their_colors(encoded: Encode) -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    assert abs(pixels(encoded(cyan, "JPEG", quality=95))[8, 8].astype(int) - [0, 255, 255]).max() <= 6


def test_cmyk_values_without_an_adobe_marker_are_not_inverted(encoded: Encode) -> None:
    cyan = encoded(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG", quality=95)
    at = cyan.index(b"\xff\xee")
    (length,) = struct.unpack_from(">H", cyan, at + 2)
    plain = cyan[:at] + cyan[at + 2 + length :]
    # Adobe stores inverted values; without the marker the same bytes are the complementary inks: magenta, yellow, key.
    assert pixels(plain)[8, 8].max() <= 6


# Color profiles

LEVELS = np.stack(np.meshgrid([0, 60, 128, 200, 255], [0, 90, 255], [10, 128, 240]), -1).reshape(-1, 3)
SWATCHES = Image.fromarray(LEVELS.astype(np.uint8).reshape(5, 9, 3)).resize(
    (72, 40), Image.Resampling.NEAREST
)


def swatches(result: np.ndarray) -> np.ndarray:
    return result[4::8, 4::8].reshape(-1, 3).astype(float)


@pytest.mark.parametrize(("kind", "tolerance"), [("PNG", 2), ("WEBP", 2), ("JPEG", 8)])
def test_colors_with_a_profile_are_converted_to_srgb(encoded: Encode, kind: str, tolerance: int) -> None:
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(kind, {})
    data = encoded(SWATCHES, kind, icc_profile=icc_profiles.profile(2.2, icc_profiles.ADOBE_RGB), **options)
    expected = icc_profiles.to_srgb(LEVELS, 563 / 256, icc_profiles.ADOBE_RGB)
    assert abs(swatches(pixels(data)) - expected).max() <= tolerance
    assert abs(LEVELS - expected).max() > 30


def test_gray_with_a_profile_is_converted_to_srgb(encoded: Encode) -> None:
    ramp = Image.linear_gradient("L").resize((16, 256))
    result = pixels(encoded(ramp, "PNG", icc_profile=icc_profiles.profile(1.0)))
    assert (np.diff(result[:, 8, 0].astype(int)) >= 0).all()
    assert abs(int(result[128, 8, 0]) - 188) <= 2  # half of the light intensity


def test_an_srgb_profile_changes_nothing(encoded: Encode, smooth: Draw) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert (
        pixels(encoded(smooth(0, 40, 40), "PNG", icc_profile=profile)) == np.asarray(smooth(0, 40, 40))
    ).all()


def test_the_profile_is_applied_before_transparency_is_laid_on_white(encoded: Encode) -> None:
    picture = SWATCHES.convert("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 8, 8))
    result = swatches(
        pixels(encoded(picture, "PNG", icc_profile=icc_profiles.profile(2.2, icc_profiles.ADOBE_RGB)))
    )
    assert (result[0] == 255).all()
    assert abs(result - icc_profiles.to_srgb(LEVELS, 563 / 256, icc_profiles.ADOBE_RGB))[1:].max() <= 2


BROKEN = {
    "empty": b"",
    "rubbish": b"MyProfile" * 40,
    "cut": icc_profiles.profile(2.2, icc_profiles.ADOBE_RGB)[:200],
    "a table that leads out of the file": icc_profiles.profile(2.2, icc_profiles.ADOBE_RGB)[:132]
    + b"\xff" * 400,
    "for gray": icc_profiles.profile(1.0),
    "too large": icc_profiles.profile(2.2, icc_profiles.ADOBE_RGB) + b"\x00" * (5 << 20),
}


@pytest.mark.parametrize(
    ("name", "kind"),
    # Pillow does not split a profile of this size into JPEG segments.
    [(n, k) for n in BROKEN for k in ("PNG", "WEBP", "JPEG") if (n, k) != ("too large", "JPEG")],
)
def test_an_unusable_profile_is_ignored(encoded: Encode, smooth: Draw, name: str, kind: str) -> None:
    plain = pixels(encoded(smooth(1, 40, 40), kind))
    assert (pixels(encoded(smooth(1, 40, 40), kind, icc_profile=BROKEN[name])) == plain).all()


def test_a_profile_of_another_color_space_is_ignored(encoded: Encode) -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    plain = pixels(encoded(cyan, "JPEG"))
    assert (
        pixels(encoded(cyan, "JPEG", icc_profile=icc_profiles.profile(2.2, icc_profiles.ADOBE_RGB))) == plain
    ).all()


@pytest.mark.parametrize("size", [0, 3, 5, 1000])
def test_a_gamma_of_a_wrong_size_is_ignored(size: int) -> None:
    assert color_profiles.gamma_profile(b"\x01" * size, b"") == b""
