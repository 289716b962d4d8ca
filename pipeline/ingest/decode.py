"""From bytes that a stranger sent to pixels in sRGB (the rules: docs/images.md)."""

import io
import struct
import warnings
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from pipeline.config import IngestConfig
from pipeline.ingest.colour import to_srgb
from pipeline.ingest.container import open_container, png_is_short
from pipeline.ingest.geometry import reduction
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


def decode(data: bytes, config: IngestConfig) -> Decoded:
    """Decode by content, never by name. Raises Rejected; no exception of a decoder escapes."""
    found = open_container(data)
    kind = found.kind
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what matters ends as a rejection
        try:
            image = Image.open(io.BytesIO(found.data), formats=(kind,))
            width, height = image.size
        except Image.DecompressionBombError as error:
            raise Rejected("too_many_pixels", str(error)) from error
        except UnidentifiedImageError as error:
            raise Rejected("truncated", f"{kind}: its header cannot be read") from error
        except Exception as error:
            raise Rejected("truncated", f"{kind}: {error}") from error
        if width * height > config.max_pixels:
            raise Rejected("too_many_pixels", f"{width}×{height}")
        if min(width, height) < config.min_side:
            raise Rejected("too_small", f"{width}×{height}")
        try:
            reduced = reduction(width, height, config) if kind == "JPEG" else 1
            if reduced > 1:
                image.draft(None, (width // reduced, height // reduced))
            image.load()
            # Pillow leaves lines that a PNG does not hold at zero, and says nothing.
            blank = kind == "PNG" and not image.crop((0, max(0, height - 2), width, height)).getbbox()
            if blank and png_is_short(found.data):
                raise ValueError("fewer lines than its header promises")
            assert image.size == (-(-width // reduced), -(-height // reduced))
            # GIF and PNG have been cut down to one picture.
            animated = found.animated or (kind in ("WEBP", "AVIF") and getattr(image, "is_animated", False))
            orientation = _orientation(found.exif or image.info.get("exif", b""))
            picture = to_srgb(image, found.profile or image.info.get("icc_profile", b""), found.adobe)
        except Exception as error:
            # Decoders raise all sorts (OSError, SyntaxError, ValueError, struct.error): for the row it is the same.
            raise Rejected("truncated", f"{kind}: {error}") from error
    return Decoded(picture, kind, width, height, reduced, orientation, animated)


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
