"""The parts of a PNG that its decoder sees, and what its chunks say of colors."""

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
    """PNG, third edition. Kept: the chunks without which there is no picture, and the first frame of an animation.

    The default image of an animation that begins with another frame is meant for programs that show no animations.
    """
    common, default, first, frames = [data[:8]], list[bytes](), list[bytes](), list[bytes]()
    said: dict[bytes, bytes] = {}
    for kind, body, chunk in _chunks(data):
        if kind in (b"IHDR", b"PLTE"):
            common.append(chunk)
        elif kind == b"tRNS" and not default:
            common.append(_chunk(b"tRNS", _transparent(common, body)))
        elif kind == b"IDAT":
            default.append(chunk)
        elif kind == b"acTL" and not default:
            said[kind] = body
        elif kind == b"fcTL":
            if not default and not frames:
                said[b"default"] = body
            frames.append(body)
        elif kind == b"fdAT" and len(frames) == 1 and len(body) > 4:
            first.append(_chunk(b"IDAT", body[4:]))
        elif kind in (b"eXIf", b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM"):
            said.setdefault(kind, body)
    count = int.from_bytes(said.get(b"acTL", b"")[:4], "big")
    exif, profile = said.get(b"eXIf", b""), _profile(said)
    if count and first and b"default" not in said and (frame := _frame(common, frames[0])):
        header, canvas, offset = frame
        kept = [common[0], header, *common[2:], *first, _chunk(b"IEND", b"")]
        return Container("PNG", b"".join(kept), count > 1, exif, profile, canvas=canvas, offset=offset)
    kept = [*common, *default, _chunk(b"IEND", b"")]
    return Container("PNG", b"".join(kept), count > 1, exif, profile)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield kind, contents and all bytes of each chunk. Raises Rejected for a wrong checksum of what is decoded."""
    at = 8
    for _ in range(MAX_PARTS):
        if at >= len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        chunk = data[at : at + 12 + length]
        at += 12 + length
        # Pillow looks at some of the checksums only.
        if kind in _CHECKED and zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
            raise Rejected("truncated", f"PNG: wrong checksum of {kind.decode()}")
        yield kind, chunk[8:-4], chunk
        if kind == b"IEND":
            return


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(kind + body))


def _transparent(common: list[bytes], body: bytes) -> bytes:
    """Return tRNS as Pillow needs it: it scales gray of two and four bits to eight, but not the transparent value."""
    depth, color = common[1][16:18] if len(common) > 1 else b"\x00\x00"
    if color == 0 and depth in (2, 4) and len(body) == 2:
        top = (1 << depth) - 1
        return struct.pack(">H", (body[1] & top) * (255 // top))
    return body


def _frame(common: list[bytes], control: bytes) -> tuple[bytes, tuple[int, int], tuple[int, int]] | None:
    """Return the header, canvas and offset of the first frame of an animation; None if it lies outside the canvas."""
    if len(common) < 2 or len(control) != 26 or len(common[1]) != 25:
        return None
    canvas = struct.unpack_from(">II", common[1], 8)
    _, columns, rows, x, y = struct.unpack_from(">IIIII", control)
    if not (columns and rows and x + columns <= canvas[0] and y + rows <= canvas[1]):
        return None
    return _chunk(b"IHDR", control[4:12] + common[1][16:21]), (canvas[0], canvas[1]), (x, y)


def _profile(said: dict[bytes, bytes]) -> bytes:
    """Return the profile of a PNG's colors, empty for sRGB. Order of precedence: PNG, third edition, chapter 4.3."""
    if b"cICP" in said and (made := cicp_profile(said[b"cICP"])) is not None:
        return made
    if b"iCCP" in said and (stored := _inflate(said[b"iCCP"].partition(b"\x00")[2][1:])):
        return stored
    if b"sRGB" in said:
        return b""
    return gamma_profile(said.get(b"gAMA", b""), said.get(b"cHRM", b""))


def is_deep_rgb(data: bytes) -> bool:
    """Whether a PNG, cut down by `read_png`, has 16 bits of red, green and blue, and no alpha channel."""
    return data[24:26] == b"\x10\x02"


def png_is_short(data: bytes) -> bool:
    """Whether a PNG, cut down by `read_png`, holds fewer lines than its header promises."""
    width, height, depth, color, *_, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
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
