"""The parts of a GIF that its decoder sees."""

import struct

from pipeline.ingest.container import MAX_PARTS, Container
from pipeline.rejections import Rejected


def read_gif(data: bytes) -> Container:
    """GIF89a. Kept: colors, the first picture and the extension that makes one of its colors transparent.

    The picture becomes a GIF of its own size. What it does not cover of the screen is transparent, and a screen that is
    too small for it grows, as in browsers.
    """
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    start = 13 + _palette_bytes(flags)
    at, control = _skip_extensions(data, start)
    if data[at : at + 1] != b",":
        raise Rejected("truncated", "GIF: holds no picture")
    x, y, columns, rows, own_flags = struct.unpack_from("<HHHHB", data, at + 1)
    if not columns or not rows:
        raise Rejected("truncated", "GIF: its picture has no pixels")
    head, palette = data[:6] + struct.pack("<HHBBB", columns, rows, flags, 0, 0), data[13:start]
    if (
        not (flags | own_flags) & 0x80
    ):  # Pillow would take the indices for shades of gray; browsers show black
        head, palette = head[:10] + b"\xf7\x00\x00", bytes(768)
    after = _blocks(data, at + 11 + _palette_bytes(own_flags))
    frame = b"," + struct.pack("<HHHH", 0, 0, columns, rows) + data[at + 9 : after]
    next_, _ = _skip_extensions(data, after)
    return Container(
        "GIF",
        b"".join([head, palette, control, frame, b";"]),
        animated=data[next_ : next_ + 1] == b",",
        canvas=(max(width, x + columns), max(height, y + rows)),
        offset=(x, y),
    )


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


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _blocks(data: bytes, at: int) -> int:
    """Where a chain of blocks ends, or the file."""
    while at < len(data) and data[at]:
        at += data[at] + 1
    return at + 1
