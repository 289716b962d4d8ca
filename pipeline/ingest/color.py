"""Convert images of any mode and color profile to 8-bit sRGB."""

import io
import struct
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageCms, ImageFile

from pipeline.ingest.container import MAX_PROFILE

BACKGROUND = "white"
"""Color behind transparent pixels, as on a plain page in a browser."""
_SPACES = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK"}  # mode of Pillow: color space of a profile
_STRIP = 1 << 20  # pixels converted at once, which bounds the memory
_SAME = 2  # largest change of a color in levels by a profile that counts as sRGB


def to_srgb(image: Image.Image, profile: bytes, adobe: bool) -> Image.Image:
    """Convert a loaded image of any mode to RGB (RGBX is kept): round 16 bits to 8, apply the profile, lay transparency on white.

    Takes four bytes per pixel besides the image itself.
    """
    profile = profile if len(profile) <= MAX_PROFILE else b""
    is_rgb = image.mode in ("RGB", "RGBX") and "transparency" not in image.info
    if is_rgb and not _transform(profile, "RGB"):
        image.info = {}  # else comments would be encoded again with the pixels
        return image
    width, height = image.size
    result = Image.new("RGB", image.size, BACKGROUND)
    for top in range(0, height, rows := max(1, _STRIP // width)):
        strip = image.crop((0, top, width, min(height, top + rows)))
        rgb, alpha = _strip_to_srgb(strip, profile, adobe)
        result.paste(rgb, (0, top), alpha)
    return result


def load_16_bit_transparency(image: Image.Image, again: ImageFile.ImageFile) -> None:
    """Convert the transparent color of a PNG of 16-bit RGB to an alpha channel.

    image: loaded, with the upper byte of each value. again: the same image, not yet loaded; its lower bytes are loaded
    here. A pixel is transparent if it equals the transparent color in all 16 bits.
    """
    again.tile = [tile._replace(args="RGB;16L") for tile in again.tile]
    again.load()
    color = image.info.pop("transparency")
    equal = None
    for half, shift in ((image, 8), (again, 0)):
        for band, value in zip(half.split(), color, strict=True):
            same = band.point([255 * (level == value >> shift & 0xFF) for level in range(256)])
            equal = same if equal is None else ImageChops.darker(equal, same)
    assert equal is not None
    image.putalpha(ImageChops.invert(equal))


def _strip_to_srgb(image: Image.Image, profile: bytes, adobe: bool) -> tuple[Image.Image, Image.Image | None]:
    alpha = None
    if image.mode.startswith("I"):
        image, alpha = _gray_16_to_8_bit(image)
    elif image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha, image = image.getchannel("A"), image.convert("RGB")
    elif image.mode == "CMYK":
        # Pillow takes every CMYK JPEG as Adobe's, whose values are stored inverted.
        image = image if adobe else ImageChops.invert(image)
    elif image.mode not in _SPACES:
        image = image.convert("L" if image.mode == "1" else "RGB")
    if image.mode == "L" and profile[16:20] != b"GRAY":
        image = image.convert("RGB")  # browsers apply RGB profiles to gray images, too
    transform = _transform(profile, image.mode)
    return image.convert("RGB") if transform is None else transform.apply(image), alpha


def _gray_16_to_8_bit(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Round 16-bit gray to L; return it with its alpha channel, if one value is transparent."""
    deep = np.asarray(image)
    value = image.info.get("transparency")
    alpha = None if value is None else Image.fromarray(np.where(deep == value, 0, 255).astype(np.uint8))
    return Image.fromarray(((deep.astype(np.uint32) + 128) // 257).astype(np.uint8)), alpha


@lru_cache(8)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from a profile to sRGB, or None if the colors are taken as sRGB.

    They are if the profile is sRGB up to rounding, is made for another color space than the image has, or cannot be read.
    """
    if not profile:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space != _SPACES[mode]:
            return None
        # The optimized transform of gray is off by up to ten levels in dark tones.
        flags = ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.NONE
        target = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, target, mode, "RGB", flags=flags)
        probe = _probe(mode)
        moved = ImageChops.difference(transform.apply(probe), probe.convert("RGB"))
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, struct.error):
        return None
    return None if np.asarray(moved).max() <= _SAME else transform


def _probe(mode: str) -> Image.Image:
    """Return an image of 6³ colors across the color space."""
    levels = np.arange(0, 256, 51, dtype=np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    return Image.fromarray(grid).convert(mode)
