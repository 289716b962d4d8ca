"""Reduce a GIF to its first image."""

import struct

from pipeline.ingest.container import MAX_PARTS, Container
from pipeline.rejections import Rejected


def read_gif(data: bytes) -> Container:
    """Keep the palettes, the first image, and the extension that makes one of its colors transparent (GIF89a).

    The result is a GIF of the size of that image. Parts of the screen that the image does not cover are transparent, and
    a screen that is too small for it is enlarged, as in browsers.
    """
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    start = 13 + _palette_bytes(flags)
    position, control = _skip_extensions(data, start)
    if data[position : position + 1] != b",":
        raise Rejected("truncated", "GIF: no image in the file")
    x, y, columns, rows, own_flags = struct.unpack_from("<HHHHB", data, position + 1)
    if not columns or not rows:
        raise Rejected("truncated", "GIF: the first image has no pixels")
    head, palette = data[:6] + struct.pack("<HHBBB", columns, rows, flags, 0, 0), data[13:start]
    if not (flags | own_flags) & 0x80:  # Pillow would take the indices as gray levels; browsers show black
        head, palette = head[:10] + b"\xf7\x00\x00", bytes(768)
    after = _end_of_blocks(data, position + 11 + _palette_bytes(own_flags))
    frame = b"," + struct.pack("<HHHH", 0, 0, columns, rows) + data[position + 9 : after]
    following, _ = _skip_extensions(data, after)
    return Container(
        "GIF",
        b"".join([head, palette, control, frame, b";"]),
        animated=data[following : following + 1] == b",",
        canvas=(max(width, x + columns), max(height, y + rows)),
        offset=(x, y),
    )


def _skip_extensions(data: bytes, start: int) -> tuple[int, bytes]:
    """Return the end of the extensions that begin at `start`, and the last graphic control extension among them."""
    position, control = start, b""
    for _ in range(MAX_PARTS):
        if data[position : position + 1] != b"!":
            break
        after = _end_of_blocks(data, position + 2)
        if data[position + 1 : position + 2] == b"\xf9":
            control = data[position:after]
        position = after
    return position, control


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _end_of_blocks(data: bytes, start: int) -> int:
    """Return the end of a chain of blocks, or of the file."""
    position = start
    while position < len(data) and data[position]:
        position += data[position] + 1
    return position + 1
