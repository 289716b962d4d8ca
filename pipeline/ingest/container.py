"""What a picture's file is by its first bytes, and the parts of it that its decoder gets to see.

Decoders of pictures are well tried; the Python around them, which reads comments, EXIF and further frames, can be
made to run for hours or to fill the memory by a file of a few hundred kilobytes. So our own walk over the file, which
allocates nothing but slices, hands on only what makes the first picture, and takes orientation and colour profile out.
"""

import re
import struct
import zlib
from dataclasses import dataclass

from PIL import features

from pipeline.rejections import Rejected

MAX_PARTS = 100_000
"""Segments, chunks or blocks of a file; more are a bomb."""
MAX_SCANS = 100
"""Passes of a progressive JPEG, each of which walks the whole picture; encoders make about ten."""
MAX_PROFILE = 4 << 20
"""Bytes of a colour profile; a larger one is left aside. Those of printing presses have 0.5 to 3 MB."""

_REFUSED = {
    b"II*\x00": "TIFF", b"MM\x00*": "TIFF", b"8BPS": "PSD", b"\x00\x00\x01\x00": "ICO", b"%PDF": "PDF",
    b"%!PS": "PostScript", b"<svg": "SVG", b"\xff\x0a": "JPEG XL", b"\x00\x00\x00\x0cJXL": "JPEG XL",
    b"\x00\x00\x00\x0cjP": "JPEG 2000", b"\xff\x4f\xff\x51": "JPEG 2000",
}  # fmt: skip
_ADAM7 = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
)  # fmt: skip
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)


@dataclass(frozen=True)
class Container:
    """A file's kind, as Pillow names it, and what is to be decoded of it.

    `exif` and `profile` are empty where there are none, and where Pillow finds them without danger (WebP, AVIF).
    """

    kind: str
    data: bytes
    animated: bool = False
    exif: bytes = b""
    profile: bytes = b""
    adobe: bool = False
    """Whether a JPEG says that Adobe's conventions hold: then the inks of CMYK are stored upside down."""


def open_container(data: bytes) -> Container:
    """Tell a file by its first bytes, and take it apart. Raises Rejected, always with a code of its own."""
    refused = next((name for magic, name in _REFUSED.items() if data.startswith(magic)), None)
    if refused is None and re.match(
        rb"\s*(<\?xml[^>]*>\s*)?(<!DOCTYPE svg|<svg)", data[:1024], re.IGNORECASE
    ):
        refused = "SVG"
    if data[4:8] == b"ftyp":
        brands = data[8 : min(256, int.from_bytes(data[:4], "big"))]
        if not (b"avif" in brands or b"avis" in brands) or not features.check("avif"):
            refused = "HEIF or a film"
    if refused:
        raise Rejected("bad_format", f"{refused}, not JPEG, PNG, WebP, GIF, BMP or AVIF")
    try:
        if data.startswith(b"\xff\xd8\xff"):
            return _jpeg(data)
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return _png(data)
        if data.startswith((b"GIF87a", b"GIF89a")):
            return _gif(data)
        if data[4:8] == b"ftyp":
            return _avif(data)
    except (IndexError, struct.error) as error:
        raise Rejected("truncated", "ends before the picture begins") from error
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Container("WEBP", data)
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADERS:
        return Container("BMP", data)
    raise Rejected("not_an_image", f"begins with {data[:16].decode('latin-1')!r}")


_MARKER = re.compile(rb"\xff([^\x00\xff])")  # a zero behind it means data; more of it are fill bytes


def _jpeg(data: bytes) -> Container:
    """ITU-T T.81, annex B. Kept: tables, frame, scans, and what JFIF and Adobe say of the colours."""
    kept, exif, adobe, at = [b"\xff\xd8"], b"", False, 2
    profile: dict[int, bytes] = {}
    for _ in range(MAX_PARTS):
        found = _MARKER.search(data, at)
        if found is None or found[1] == b"\xd9":
            break
        marker, at = found[1][0], found.end()
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # these stand alone
            continue
        (length,) = struct.unpack_from(">H", data, at)
        segment, body = data[at - 2 : at + length], data[at + 2 : at + length]
        if marker == 0xDA:
            if _scans(data, at + length) >= MAX_SCANS:
                raise Rejected("bad_format", f"JPEG of more than {MAX_SCANS} scans")
            whole = sorted(profile) == list(range(1, len(profile) + 1))
            joined = b"".join(profile[i] for i in sorted(profile)) if whole else b""
            return Container("JPEG", b"".join([*kept, data[at - 2 :]]), False, exif, joined, adobe)
        if marker == 0xE1 and body.startswith(b"Exif\x00\x00"):
            exif = exif or body[6:]
        elif marker == 0xE2 and body.startswith(b"ICC_PROFILE\x00") and len(body) > 14:
            profile[body[12]] = body[14:]
        elif marker == 0xEE and body.startswith(b"Adobe"):
            adobe = True
            kept.append(segment)
        elif marker == 0xE0 and body.startswith(b"JFIF\x00"):
            kept.append(segment)
        elif not 0xE0 <= marker <= 0xEF and marker != 0xFE:
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
                _check_frame(marker, body)
            kept.append(segment)
        at += length
    raise Rejected("truncated", "JPEG: no picture among its segments")


def _scans(data: bytes, at: int) -> int:
    """How many scans follow the first one, or fewer than MAX_SCANS if there are fewer."""
    count = data.count(b"\xff\xda", at)
    if count < MAX_SCANS:
        return count
    count = 0  # what stands behind the picture, such as a film, may hold these two bytes by chance
    while count < MAX_SCANS and (found := _MARKER.search(data, at)) and found[1] != b"\xd9":
        at = found.end()
        if not b"\xd0" <= found[1] <= b"\xd8":
            count += found[1] == b"\xda"
            at += int.from_bytes(data[at : at + 2], "big")
    return count


def _check_frame(marker: int, body: bytes) -> None:
    if marker not in (0xC0, 0xC1, 0xC2, 0xC9, 0xCA) or body[0] != 8 or body[5] not in (1, 3, 4):
        raise Rejected(
            "bad_format", f"JPEG of kind SOF{marker - 0xC0} with {body[0]} bits and {body[5]} components"
        )


def _png(data: bytes) -> Container:
    """PNG, third edition. Kept: the chunks without which there is no picture; of an animation, the default image."""
    kept, exif, profile, animated, srgb, at = [data[:8]], b"", b"", False, False, 8
    for _ in range(MAX_PARTS):
        if at >= len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, at)
        chunk = data[at : at + 12 + length]
        at += 12 + length
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            # Pillow looks at some of the checksums only.
            if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
                raise Rejected("truncated", f"PNG: wrong checksum of {kind.decode()}")
            kept.append(chunk)
        elif kind == b"acTL":
            animated = int.from_bytes(chunk[8:12], "big") > 1
        elif kind == b"eXIf":
            exif = chunk[8:-4]
        elif kind == b"sRGB":
            srgb = True
        elif kind == b"iCCP":
            profile = _inflate(chunk[8:-4].partition(b"\x00")[2][1:])
        if kind == b"IEND":
            break
    return Container("PNG", b"".join(kept), animated, exif, b"" if srgb else profile)


def png_is_short(data: bytes) -> bool:
    """Whether a PNG, cut down by `open_container`, holds fewer lines than its header promises."""
    width, height, depth, colour, *_, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    wanted = 0
    for x, y, across, down in passes:
        columns, rows = -(-(width - x) // across), -(-(height - y) // down)
        wanted += rows * (1 + -(-columns * bits // 8)) if columns > 0 and rows > 0 else 0
    inflate, at = zlib.decompressobj(), 8
    while at < len(data) and wanted > 0:
        length, kind = struct.unpack_from(">I4s", data, at)
        piece = data[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        while piece and wanted > 0:
            wanted -= len(inflate.decompress(piece, 1 << 20))
            piece = inflate.unconsumed_tail
        at += 12 + length
    return wanted > 0


def _inflate(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, MAX_PROFILE + 1)
    except zlib.error:
        return b""


def _gif(data: bytes) -> Container:
    """GIF89a. Kept: screen, colours, the first picture and the extension that makes one of its colours transparent."""
    start = 13 + _colours(data[10])
    at, control = _skip_extensions(data, start)
    if data[at : at + 1] != b",":
        raise Rejected("truncated", "GIF: holds no picture")
    after = _blocks(data, at + 11 + _colours(data[at + 9]))
    kept = [data[:start], control, data[at:after], b";"]
    at, _ = _skip_extensions(data, after)
    return Container("GIF", b"".join(kept), data[at : at + 1] == b",")


def _skip_extensions(data: bytes, at: int) -> tuple[int, bytes]:
    """Where the extensions that begin at `at` end, and the last of them that speaks of the picture behind."""
    control = b""
    for _ in range(MAX_PARTS):
        if data[at : at + 1] != b"!":
            break
        after = _blocks(data, at + 2)
        if data[at + 1 : at + 2] == b"\xf9":
            control = data[at:after]
        at = after
    return at, control


def _colours(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _blocks(data: bytes, at: int) -> int:
    """Where a chain of blocks ends, or the file."""
    while at < len(data) and data[at]:
        at += data[at] + 1
    return at + 1


def _avif(data: bytes) -> Container:
    """ISO/IEC 14496-12 boxes. EXIF items are renamed: the picture's own properties say how it is turned."""
    at = 0
    for _ in range(MAX_PARTS):
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"meta" and size >= 8:
            meta = data[at : at + size].replace(b"Exif", b"none")
            return Container("AVIF", data[:at] + meta + data[at + size :])
        if size < 8:
            break
        at += size
    raise Rejected("truncated", "AVIF: no description of a picture")
