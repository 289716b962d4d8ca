"""Recognize image formats by content, and reduce each file to the part that is decoded.

Image decoders are well tested. The Python code around them, which reads comments, EXIF and further frames, is less so: a
file of a few hundred kilobytes can make it run for hours or fill the memory. So the file is first cut down, without
allocating more than slices of it, to what the first image needs; EXIF and color profile are extracted.
"""

import re
import struct

from PIL import features

from pipeline.ingest.color_profiles import video_profile
from pipeline.ingest.container import Container
from pipeline.ingest.gif import read_gif
from pipeline.ingest.jpeg import read_jpeg
from pipeline.ingest.png import read_png
from pipeline.rejections import Rejected

_REFUSED = {
    b"II*\x00": "TIFF", b"MM\x00*": "TIFF", b"8BPS": "PSD", b"\x00\x00\x01\x00": "ICO", b"%PDF": "PDF",
    b"%!PS": "PostScript", b"<svg": "SVG", b"\xff\x0a": "JPEG XL", b"\x00\x00\x00\x0cJXL": "JPEG XL",
    b"\x00\x00\x00\x0cjP": "JPEG 2000", b"\xff\x4f\xff\x51": "JPEG 2000",
}  # fmt: skip
_JPEG = b"\xff\xd8\xff"
MAX_BRANDS = 4096
"""Largest number of bytes that are searched for the brands of an AVIF file."""
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)


def open_container(data: bytes) -> Container:
    """Recognize a file by its first bytes, and reduce it to what is decoded. Raises Rejected."""
    refused = next((name for magic, name in _REFUSED.items() if data.startswith(magic)), None)
    if refused is None and re.match(
        rb"\s*(<\?xml[^>]*>\s*)?(<!DOCTYPE svg|<svg)", data[:1024], re.IGNORECASE
    ):
        refused = "SVG"
    # Of a JPEG, these four bytes are a length and the beginning of a segment.
    has_brands = data[4:8] == b"ftyp" and not data.startswith(_JPEG)
    if has_brands and not (_brands(data) & {b"avif", b"avis"} and features.check("avif")):
        refused = "HEIF or video"
    if refused:
        raise Rejected("bad_format", f"{refused}; give a JPEG, PNG, WebP, GIF, BMP or AVIF file")
    try:
        if data.startswith(_JPEG):
            return read_jpeg(data)
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return read_png(data)
        if data.startswith((b"GIF87a", b"GIF89a")):
            return read_gif(data)
        if has_brands:
            return _avif(data)
    except (IndexError, struct.error) as error:
        raise Rejected("truncated", "the file ends before the image begins") from error
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADERS:
        return Container("BMP", data)
    raise Rejected("not_an_image", f"the file begins with {data[:16].decode('latin-1')!r}")


def _webp(data: bytes) -> Container:
    """Set the alpha flag of an animation: what its first frame does not cover is transparent (WebP container specification)."""
    if data[12:16] != b"VP8X" or len(data) < 30:
        return Container("WEBP", data)
    width, height = (1 + int.from_bytes(data[start : start + 3], "little") for start in (24, 27))
    if data[20] & 0x02:
        data = data[:20] + bytes([data[20] | 0x10]) + data[21:]
    return Container("WEBP", data, canvas=(width, height))


def _brands(data: bytes) -> set[bytes]:
    """Return the major and the compatible brands of an ISO base media file."""
    brands = data[8 : min(int.from_bytes(data[:4], "big"), MAX_BRANDS)]
    return {brands[i : i + 4] for i in range(0, len(brands), 4) if i != 4}


_EXIF_ITEM = re.compile(rb"(infe(?:\x02.{7}|\x03.{9}))Exif", re.DOTALL)


_CODE_POINTS = re.compile(rb"colrnclx\x00(.)\x00(.)", re.DOTALL)


def _avif(data: bytes) -> Container:
    """Rename EXIF items, since the image properties give the orientation of an AVIF file (ISO/IEC 23008-12).

    Pillow requires an AVIF major brand; like browsers, a compatible brand is accepted here.
    """
    brands = _brands(data)
    major = next(brand for brand in (data[8:12], b"avif", b"avis") if brand in brands & {b"avif", b"avis"})
    code_points = set(_CODE_POINTS.findall(data))
    profile = video_profile(*code_points.pop()) if len(code_points) == 1 else b""
    return Container("AVIF", data[:8] + major + _EXIF_ITEM.sub(rb"\1none", data[12:]), profile=profile)
