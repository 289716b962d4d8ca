"""From whatever colors a file holds to 8-bit sRGB."""

import io
import struct
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageCms, ImageFile

from pipeline.ingest.container import MAX_PROFILE

BACKGROUND = "white"
"""What lies behind transparent pictures, as on a plain page in a browser."""
_SPACES = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK"}  # mode of Pillow: color space of a profile
_STRIP = 1 << 20  # pixels worked on at once, which bounds the memory
_SAME = 2  # levels by which a profile may move a color and still be called sRGB


def to_srgb(image: Image.Image, profile: bytes, adobe: bool) -> Image.Image:
    """Bring a loaded picture of any mode to RGB: 16 bits rounded to 8, profile applied, transparency laid on white.

    Takes four bytes a pixel beside the picture itself.
    """
    profile = profile if len(profile) <= MAX_PROFILE else b""
    if image.mode == "RGB" and "transparency" not in image.info and not _transform(profile, "RGB"):
        image.info = {}  # comments and the like would be written again with the pixels
        return image
    width, height = image.size
    result = Image.new("RGB", image.size, BACKGROUND)
    for top in range(0, height, rows := max(1, _STRIP // width)):
        strip = image.crop((0, top, width, min(height, top + rows)))
        rgb, alpha = _strip_to_srgb(strip, profile, adobe)
        result.paste(rgb, (0, top), alpha)
    return result


def load_deep_transparency(image: Image.Image, again: ImageFile.ImageFile) -> None:
    """Turn the transparent color of a PNG of 16-bit RGB into an alpha channel.

    image: loaded, so that it has the upper byte of each value; again: the same picture, not yet loaded, of which the
    lower bytes are loaded. Only what equals the transparent color in all 16 bits is transparent.
    """
    again.tile = [tile._replace(args="RGB;16L") for tile in again.tile]
    again.load()
    color = image.info.pop("transparency")
    equal = None
    for picture, shift in ((image, 8), (again, 0)):
        for band, value in zip(picture.split(), color, strict=True):
            same = band.point([255 * (level == value >> shift & 0xFF) for level in range(256)])
            equal = same if equal is None else ImageChops.darker(equal, same)
    assert equal is not None
    image.putalpha(ImageChops.invert(equal))


def _strip_to_srgb(image: Image.Image, profile: bytes, adobe: bool) -> tuple[Image.Image, Image.Image | None]:
    alpha = None
    if image.mode.startswith("I"):
        image, alpha = _eight_bits(image)
    elif image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha, image = image.getchannel("A"), image.convert("RGB")
    elif image.mode == "CMYK":
        # Pillow takes all JPEGs of four inks for Adobe's, which are stored upside down.
        image = image if adobe else ImageChops.invert(image)
    elif image.mode not in _SPACES:
        image = image.convert("L" if image.mode == "1" else "RGB")
    if image.mode == "L" and profile[16:20] != b"GRAY":
        image = image.convert("RGB")  # browsers apply profiles of RGB to gray, too
    transform = _transform(profile, image.mode)
    return image.convert("RGB") if transform is None else transform.apply(image), alpha


def _eight_bits(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """16-bit gray to L, rounded; and its transparency, if one of its values stands for that."""
    deep = np.asarray(image)
    value = image.info.get("transparency")
    alpha = None if value is None else Image.fromarray(np.where(deep == value, 0, 255).astype(np.uint8))
    return Image.fromarray(((deep.astype(np.uint32) + 128) // 257).astype(np.uint8)), alpha


@lru_cache(8)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The way from a profile to sRGB; None where there is none to go.

    That is so if the profile is sRGB but for rounding, is made for other colors than the picture has, or cannot be
    read: then the colors are taken for sRGB, as those of pictures without a profile.
    """
    if not profile:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space != _SPACES[mode]:
            return None
        # The optimized way of gray is off by up to ten levels where it is dark.
        flags = ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.NONE
        target = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, target, mode, "RGB", flags=flags)
        probe = _probe(mode)
        moved = ImageChops.difference(transform.apply(probe), probe.convert("RGB"))
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, struct.error):
        return None
    return None if np.asarray(moved).max() <= _SAME else transform


def _probe(mode: str) -> Image.Image:
    """A picture of 6³ colors of all kinds."""
    levels = np.arange(0, 256, 51, dtype=np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    return Image.fromarray(grid).convert(mode)
