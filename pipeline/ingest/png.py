"""Reduce a PNG to the chunks that are decoded, and read its color description."""

import struct
import zlib
from collections.abc import Iterator

from pipeline.ingest.color_profiles import cicp_profile, gamma_profile
from pipeline.ingest.container import MAX_PARTS, MAX_PROFILE, Container
from pipeline.rejections import Rejected

_ADAM7 = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
)  # fmt: skip
_CHECKED = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"fdAT", b"IEND"}


def read_png(data: bytes) -> Container:
    """Keep the critical chunks and transparency, or those of the first frame of an animation (PNG, third edition).

    The default image of an animation that begins with another frame is for programs that do not show animations.
    """
    common, default, first, frames = [data[:8]], list[bytes](), list[bytes](), list[bytes]()
    metadata: dict[bytes, bytes] = {}
    for chunk_type, body, chunk in _chunks(data):
        if chunk_type in (b"IHDR", b"PLTE"):
            common.append(chunk)
        elif chunk_type == b"tRNS" and not default:
            common.append(_chunk(b"tRNS", _transparent(common, body)))
        elif chunk_type == b"IDAT":
            default.append(chunk)
        elif chunk_type == b"acTL" and not default:
            metadata[chunk_type] = body
        elif chunk_type == b"fcTL":
            if not default and not frames:
                metadata[b"default"] = body
            frames.append(body)
        elif chunk_type == b"fdAT" and len(frames) == 1 and len(body) > 4:
            first.append(_chunk(b"IDAT", body[4:]))
        elif chunk_type in (b"eXIf", b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM"):
            metadata.setdefault(chunk_type, body)
    count = int.from_bytes(metadata.get(b"acTL", b"")[:4], "big")
    exif, profile = metadata.get(b"eXIf", b""), _profile(metadata)
    if count and first and b"default" not in metadata and (frame := _frame(common, frames[0])):
        header, canvas, offset = frame
        kept = [common[0], header, *common[2:], *first, _chunk(b"IEND", b"")]
        return Container("PNG", b"".join(kept), count > 1, exif, profile, canvas=canvas, offset=offset)
    kept = [*common, *default, _chunk(b"IEND", b"")]
    return Container("PNG", b"".join(kept), count > 1, exif, profile)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield type, content and all bytes of each chunk. Raises Rejected for a wrong checksum of a chunk that is decoded."""
    position = 8
    for _ in range(MAX_PARTS):
        if position >= len(data):
            return
        length, chunk_type = struct.unpack_from(">I4s", data, position)
        chunk = data[position : position + 12 + length]
        position += 12 + length
        # Pillow checks only some of the checksums.
        if chunk_type in _CHECKED and zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
            raise Rejected("truncated", f"PNG: wrong checksum of {chunk_type.decode()}")
        yield chunk_type, chunk[8:-4], chunk
        if chunk_type == b"IEND":
            return


def _chunk(chunk_type: bytes, body: bytes) -> bytes:
    return (
        struct.pack(">I4s", len(body), chunk_type) + body + struct.pack(">I", zlib.crc32(chunk_type + body))
    )


def _transparent(common: list[bytes], body: bytes) -> bytes:
    """Return tRNS scaled to eight bits: Pillow scales gray of two and four bits, but not the transparent value."""
    depth, color = common[1][16:18] if len(common) > 1 else b"\x00\x00"
    if color == 0 and depth in (2, 4) and len(body) == 2:
        top = (1 << depth) - 1
        return struct.pack(">H", (body[1] & top) * (255 // top))
    return body


def _frame(common: list[bytes], control: bytes) -> tuple[bytes, tuple[int, int], tuple[int, int]] | None:
    """Return the header, canvas and offset of the first frame of an animation; None if it exceeds the canvas."""
    if len(common) < 2 or len(control) != 26 or len(common[1]) != 25:
        return None
    canvas = struct.unpack_from(">II", common[1], 8)
    _, columns, rows, x, y = struct.unpack_from(">IIIII", control)
    if not (columns and rows and x + columns <= canvas[0] and y + rows <= canvas[1]):
        return None
    return _chunk(b"IHDR", control[4:12] + common[1][16:21]), (canvas[0], canvas[1]), (x, y)


def _profile(metadata: dict[bytes, bytes]) -> bytes:
    """Return the profile of a PNG's colors, empty for sRGB. Order of precedence: PNG, third edition, chapter 4.3."""
    if b"cICP" in metadata and (made := cicp_profile(metadata[b"cICP"])) is not None:
        return made
    if b"iCCP" in metadata and (stored := _inflate(metadata[b"iCCP"].partition(b"\x00")[2][1:])):
        return stored
    if b"sRGB" in metadata:
        return b""
    return gamma_profile(metadata.get(b"gAMA", b""), metadata.get(b"cHRM", b""))


def is_16_bit_rgb(data: bytes) -> bool:
    """Return whether a PNG, reduced by `read_png`, has 16-bit red, green and blue, and no alpha channel."""
    return data[24:26] == b"\x10\x02"


def is_interlaced(data: bytes) -> bool:
    """Return whether a PNG, reduced by `read_png`, stores its lines in several passes."""
    return data[28:29] != b"\x00"


def png_is_short(data: bytes) -> bool:
    """Return whether a PNG, reduced by `read_png`, has fewer lines than its header declares."""
    width, height, depth, color = struct.unpack_from(">IIBB", data, 16)
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    passes = _ADAM7 if is_interlaced(data) else ((0, 0, 1, 1),)
    missing_bytes = 0
    for x, y, across, down in passes:
        columns, rows = -(-(width - x) // across), -(-(height - y) // down)
        missing_bytes += rows * (1 + -(-columns * bits // 8)) if columns > 0 and rows > 0 else 0
    inflate, position = zlib.decompressobj(), 8
    while position < len(data) and missing_bytes > 0:
        length, chunk_type = struct.unpack_from(">I4s", data, position)
        piece = data[position + 8 : position + 8 + length] if chunk_type == b"IDAT" else b""
        while piece and missing_bytes > 0:
            missing_bytes -= len(inflate.decompress(piece, 1 << 20))
            piece = inflate.unconsumed_tail
        position += 12 + length
    return missing_bytes > 0


def _inflate(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, MAX_PROFILE + 1)
    except zlib.error:
        return b""
