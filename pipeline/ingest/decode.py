"""From bytes that a stranger sent to an upright RGB picture, and from there to the normalised encoding."""

import io
import warnings
from dataclasses import dataclass

from PIL import Image, ImageOps

from pipeline.config import IngestConfig
from pipeline.rejections import Rejected

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
# Formats that are told by their first bytes and refused without waking their decoders.
_REFUSED = {
    b"II*\x00": "TIFF", b"MM\x00*": "TIFF", b"8BPS": "PSD", b"\x00\x00\x01\x00": "ICO", b"%PDF": "PDF",
    b"%!PS": "PostScript", b"<svg": "SVG", b"\xff\x0a": "JPEG XL", b"\x00\x00\x00\x0cjP": "JPEG 2000",
}  # fmt: skip


@dataclass(frozen=True)
class Decoded:
    """An upright RGB picture, with what its file said before: format and size in pixels."""

    picture: Image.Image
    format: str
    width: int
    height: int


def decode(data: bytes, config: IngestConfig) -> Decoded:
    """Decode by content, never by name. Raises Rejected; no exception of a decoder escapes.

    The first frame of an animation is taken; EXIF orientation is applied; transparency is laid on white;
    16-bit grey is scaled to 8 bits.
    """
    refused = next((name for magic, name in _REFUSED.items() if data.startswith(magic)), None)
    if data[4:8] == b"ftyp":
        refused = "AVIF, HEIF or a film"
    if refused:
        raise Rejected("bad_format", f"{refused}, not {', '.join(FORMATS)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd EXIF, palettes: what matters ends as a rejection
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        except Image.DecompressionBombError as error:
            raise Rejected("too_many_pixels", str(error)) from error
        except Exception as error:
            head = data[:16].decode("latin-1")
            raise Rejected("not_an_image", f"begins with {head!r}") from error
        width, height = image.size
        if width * height > config.max_pixels:
            raise Rejected("too_many_pixels", f"{width}×{height}")
        if min(width, height) < config.min_side:
            raise Rejected("too_small", f"{width}×{height}")
        try:
            picture = _upright_rgb(image)
        except Exception as error:
            # Decoders raise all sorts (OSError, SyntaxError, ValueError, struct.error): for the row it is the same.
            raise Rejected("truncated", f"{image.format}: {error}") from error
    # A JPEG with further pictures behind it, as many phones write them, goes by another name in Pillow.
    kind = "JPEG" if image.format == "MPO" else str(image.format)
    return Decoded(picture, kind, width, height)


def _upright_rgb(image: Image.Image) -> Image.Image:
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        image = image.point(lambda value: value / 257).convert("L")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    image = image if image.mode == "RGB" else image.convert("RGB")
    image.info = {}  # comments and colour profiles would be written again with the pixels
    return image


def normalise(picture: Image.Image, config: IngestConfig) -> Image.Image:
    """Bring an RGB picture to the configured size by the configured rule (see IngestConfig.resize)."""
    size, (width, height) = config.size, picture.size
    if config.resize == "none" or (width, height) == (size, size):
        return picture
    resample = Image.Resampling.BOX if config.resample == "area" else Image.Resampling.LANCZOS
    if min(width, height) < size:
        resample = Image.Resampling.BICUBIC  # an area filter has nothing to average when enlarging
    if config.resize == "exact":
        return picture.resize((size, size), resample)
    if config.resize == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        return picture.resize((size, size), resample, box=(left, top, left + side, top + side))
    scale = size / max(width, height)
    return picture.resize((max(1, round(width * scale)), max(1, round(height * scale))), resample)


def encode(picture: Image.Image, config: IngestConfig) -> bytes:
    """Encode an RGB picture as configured; no metadata of the original survives."""
    buffer = io.BytesIO()
    if config.format == "png":
        picture.save(buffer, "PNG", compress_level=6)
    elif config.format == "webp":
        picture.save(buffer, "WEBP", quality=config.quality)
    else:
        picture.save(buffer, "JPEG", quality=config.quality)
    return buffer.getvalue()
