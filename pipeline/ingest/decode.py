"""Decode untrusted bytes to sRGB pixels (docs/explanation/images.md)."""

import io
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from pipeline.ingest.av1 import largest_frame
from pipeline.ingest.color import BACKGROUND, load_16_bit_transparency, to_srgb
from pipeline.ingest.container import Container
from pipeline.ingest.formats import open_container
from pipeline.ingest.geometry import jpeg_reduction
from pipeline.ingest.pixels import MAX_JPEG_PIXELS, image_of, jpeg_pixels, pixels_of
from pipeline.ingest.png import is_16_bit_rgb, is_interlaced, png_is_short
from pipeline.ingest_config import IngestConfig
from pipeline.rejections import Rejected


@dataclass(frozen=True)
class DecodedImage:
    """The first image of a file in sRGB, before its EXIF orientation is applied.

    pixels: see pixels.py; width and height are those of the original divided by `reduction` (1, 2, 4 or 8), rounded up.
    width, height: of the original, in pixels.
    """

    pixels: np.ndarray
    format: str
    width: int
    height: int
    reduction: int
    orientation: int
    """EXIF orientation, 1 to 8."""
    animated: bool


LimitMemory = Callable[[int, int], object]
"""Function that is called with the numbers of pixels and bytes of a file before its pixels are decoded."""


def no_limit(_pixels: int, _file_bytes: int) -> None:
    """Do not limit the memory of this process."""


def decode(data: bytes, config: IngestConfig, limit_memory: LimitMemory = no_limit) -> DecodedImage:
    """Decode a file. The content decides the format. Raises Rejected; exceptions of decoders are converted to it."""
    try:
        container = open_container(data)
        inner = largest_frame(container.data) if container.format == "AVIF" else (0, 0)
    except MemoryError as error:
        raise Rejected("too_many_pixels", "the headers of the file require too much memory") from error
    if container.frame and (plain := _decode_plain_jpeg(container, config, limit_memory, len(data))):
        return plain
    image_format = container.format
    if container.canvas:
        _check_size(*container.canvas, config)
    _check_pixels(*inner, config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # problems that matter become rejections
        try:
            image = Image.open(io.BytesIO(container.data), formats=(image_format,))
            width, height = container.canvas or image.size
        except Image.DecompressionBombError as error:
            raise Rejected("too_many_pixels", str(error)) from error
        except UnidentifiedImageError as error:
            raise Rejected("truncated", f"{image_format}: the header cannot be read") from error
        except MemoryError as error:
            raise Rejected(
                "too_many_pixels", f"{image_format}: the header requires too much memory"
            ) from error
        except Exception as error:
            raise Rejected("truncated", f"{image_format}: {error}") from error
        _check_size(width, height, config)
        limit_memory(width * height, len(data))
        try:
            reduction = jpeg_reduction(width, height, config) if image_format == "JPEG" else 1
            if reduction > 1:
                image.draft(None, (width // reduction, height // reduction))
            _load(image, container)
            assert container.canvas or image.size == (-(-width // reduction), -(-height // reduction))
            # GIF and PNG have been reduced to one image.
            animated = container.animated or (
                image_format in ("WEBP", "AVIF") and getattr(image, "is_animated", False)
            )
            orientation = _orientation(container.exif or image.info.get("exif", b""))
            profile = image.info.get("icc_profile") or container.profile
            decoded = to_srgb(image, profile, container.adobe)
            if container.canvas and container.canvas != decoded.size:
                canvas = Image.new("RGB", container.canvas, BACKGROUND)
                canvas.paste(decoded, container.offset)
                decoded = canvas
            pixels = pixels_of(decoded)
        except MemoryError as error:
            raise Rejected("too_many_pixels", beyond_memory(image_format, width, height)) from error
        except Exception as error:
            # Decoders raise OSError, SyntaxError, ValueError, struct.error and others.
            raise Rejected("truncated", f"{image_format}: {error}") from error
    return DecodedImage(pixels, image_format, width, height, reduction, orientation, animated)


def _decode_plain_jpeg(
    container: Container, config: IngestConfig, limit_memory: LimitMemory, file_bytes: int
) -> DecodedImage | None:
    """Decode a JPEG of three components by libjpeg-turbo alone: the same pixels as by way of Pillow, in less time.

    Return None for an image that is refused or that libjpeg finds damaged; Pillow's way then decides and gives the reason.
    """
    assert container.frame
    width, height = container.frame
    if width * height > min(config.max_pixels, MAX_JPEG_PIXELS) or min(width, height) < config.min_side:
        return None
    limit_memory(width * height, file_bytes)
    reduction = jpeg_reduction(width, height, config)
    try:
        pixels = jpeg_pixels(container.data, (-(-width // reduction), -(-height // reduction)))
        if pixels is None:
            return None
        if container.profile:
            image = image_of(pixels)
            converted = to_srgb(image, container.profile, container.adobe)
            pixels = pixels if converted is image else pixels_of(converted)
    except Exception:
        return None
    orientation = _orientation(container.exif)
    return DecodedImage(pixels, container.format, width, height, reduction, orientation, False)


def beyond_memory(image_format: str, width: int, height: int) -> str:
    """Return the detail of a rejection for a file that needs more memory than its declared size."""
    return f"{image_format} of {width}×{height} needs more memory than an image of this size"


def _check_size(width: int, height: int, config: IngestConfig) -> None:
    _check_pixels(width, height, config)
    if min(width, height) < config.min_side:
        raise Rejected("too_small", f"{width}×{height}")


def _check_pixels(width: int, height: int, config: IngestConfig) -> None:
    if width * height > config.max_pixels:
        raise Rejected("too_many_pixels", f"{width}×{height}")


def _load(image: Image.Image, container: Container) -> None:
    """Decode the pixels. Raises what decoders raise, and ValueError for a PNG with fewer lines than its header declares."""
    image.load()
    if container.format != "PNG":
        return
    # Pillow leaves missing lines of a PNG at zero without an error. Those of an interlaced PNG may be anywhere.
    width, height = image.size
    has_last_line = not is_interlaced(container.data) and image.crop((0, height - 1, width, height)).getbbox()
    if not has_last_line and png_is_short(container.data):
        raise ValueError("fewer lines than the header declares")
    if is_16_bit_rgb(container.data) and "transparency" in image.info:
        load_16_bit_transparency(image, Image.open(io.BytesIO(container.data), formats=("PNG",)))


def _orientation(exif: bytes) -> int:
    """Return the orientation in the first directory of an EXIF block; 1 if it is missing or unreadable."""
    exif = exif.removeprefix(b"Exif\x00\x00")
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for i in range(count):
            tag, type_, values, value = struct.unpack_from(order + "HHIH", exif, start + 2 + 12 * i)
            if tag == 0x0112:
                return value if type_ == 3 and values == 1 and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
