"""From bytes that a stranger sent to pixels in sRGB (the rules: docs/explanation/images.md)."""

import io
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from pipeline.config import IngestConfig
from pipeline.ingest.av1 import largest_frame
from pipeline.ingest.color import BACKGROUND, load_deep_transparency, to_srgb
from pipeline.ingest.container import Container
from pipeline.ingest.formats import open_container
from pipeline.ingest.geometry import reduction
from pipeline.ingest.png import is_deep_rgb, png_is_short
from pipeline.rejections import Rejected


@dataclass(frozen=True)
class Decoded:
    """The first picture of a file as RGB, as it is stored: not yet turned upright.

    `width` and `height` are the file's, in pixels; `picture` is smaller by `reduction`, 1, 2, 4 or 8, its last column
    and row being filled up where that does not divide them.
    """

    picture: Image.Image
    format: str
    width: int
    height: int
    reduction: int
    orientation: int
    """EXIF's, 1 to 8."""
    animated: bool


LimitMemory = Callable[[int, int], object]
"""Called with the pixels and the bytes of a file before its pixels are decoded."""


def no_limit(_pixels: int, _file_bytes: int) -> None:
    """Leave the memory of this process as it is."""


def decode(data: bytes, config: IngestConfig, limit_memory: LimitMemory = no_limit) -> Decoded:
    """Decode by content, never by name. Raises Rejected; no exception of a decoder escapes."""
    found = open_container(data)
    kind = found.kind
    if found.canvas:
        _check_size(*found.canvas, config)
    if kind == "AVIF":
        _check_pixels(*largest_frame(found.data), config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what matters ends as a rejection
        try:
            image = Image.open(io.BytesIO(found.data), formats=(kind,))
            width, height = found.canvas or image.size
        except Image.DecompressionBombError as error:
            raise Rejected("too_many_pixels", str(error)) from error
        except UnidentifiedImageError as error:
            raise Rejected("truncated", f"{kind}: its header cannot be read") from error
        except MemoryError as error:
            raise Rejected("too_many_pixels", f"{kind}: its header asks for too much memory") from error
        except Exception as error:
            raise Rejected("truncated", f"{kind}: {error}") from error
        _check_size(width, height, config)
        limit_memory(width * height, len(data))
        try:
            reduced = reduction(width, height, config) if kind == "JPEG" else 1
            if reduced > 1:
                image.draft(None, (width // reduced, height // reduced))
            _load(image, found)
            assert found.canvas or image.size == (-(-width // reduced), -(-height // reduced))
            # GIF and PNG have been cut down to one picture.
            animated = found.animated or (kind in ("WEBP", "AVIF") and getattr(image, "is_animated", False))
            orientation = _orientation(found.exif or image.info.get("exif", b""))
            picture = to_srgb(image, image.info.get("icc_profile") or found.profile, found.adobe)
            if found.canvas and found.canvas != picture.size:
                canvas = Image.new("RGB", found.canvas, BACKGROUND)
                canvas.paste(picture, found.offset)
                picture = canvas
        except MemoryError as error:
            raise Rejected("too_many_pixels", beyond_memory(kind, width, height)) from error
        except Exception as error:
            # Decoders raise all sorts (OSError, SyntaxError, ValueError, struct.error): for the row it is the same.
            raise Rejected("truncated", f"{kind}: {error}") from error
    return Decoded(picture, kind, width, height, reduced, orientation, animated)


def beyond_memory(kind: str, width: int, height: int) -> str:
    """Return the detail of a rejection for a file that is larger inside than its header says."""
    return f"{kind} of {width}×{height} that takes more memory than a picture of this size"


def _check_size(width: int, height: int, config: IngestConfig) -> None:
    _check_pixels(width, height, config)
    if min(width, height) < config.min_side:
        raise Rejected("too_small", f"{width}×{height}")


def _check_pixels(width: int, height: int, config: IngestConfig) -> None:
    if width * height > config.max_pixels:
        raise Rejected("too_many_pixels", f"{width}×{height}")


def _load(image: Image.Image, found: Container) -> None:
    """Decode the pixels. Raises what decoders raise, and ValueError for a PNG of fewer lines than it promises."""
    image.load()
    if found.kind != "PNG":
        return
    # Pillow leaves lines that a PNG does not hold at zero, and says nothing.
    width, height = image.size
    if not image.crop((0, max(0, height - 2), width, height)).getbbox() and png_is_short(found.data):
        raise ValueError("fewer lines than its header promises")
    if is_deep_rgb(found.data) and "transparency" in image.info:
        load_deep_transparency(image, Image.open(io.BytesIO(found.data), formats=("PNG",)))


def _orientation(exif: bytes) -> int:
    """The orientation that the first directory of an EXIF block gives; 1 if it gives none, or cannot be read."""
    exif = exif.removeprefix(b"Exif\x00\x00")
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, at)
        for i in range(count):
            tag, kind, values, value = struct.unpack_from(order + "HHIH", exif, at + 2 + 12 * i)
            if tag == 0x0112:
                return value if kind == 3 and values == 1 and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
