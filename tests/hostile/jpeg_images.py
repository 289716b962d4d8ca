"""Hostile and odd JPEG files, each with the expected result."""

import random
import struct

from PIL import Image

from tests.hostile.image_case import IMAGE, Case, changed, plain, saved


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def jpeg_with(*segments: bytes, **options: object) -> bytes:
    data = saved("JPEG", **options)
    return data[:2] + b"".join(segments) + data[2:]


def frame(data: bytes) -> int:
    """Return the offset of the frame header of a JPEG."""
    return next(i for i in range(len(data)) if data[i] == 0xFF and data[i + 1] in (0xC0, 0xC2))


def reframed(marker: int = 0xC0, **new: int) -> bytes:
    """Return a JPEG with another frame header."""
    data = saved("JPEG")
    at = frame(data)
    bits, height, width, components = struct.unpack_from(">BHHB", data, at + 4)
    old = {"bits": bits, "height": height, "width": width, "components": components}
    return changed(
        data, at, struct.pack(">BB2sBHHB", 0xFF, marker, data[at + 2 : at + 4], *(old | new).values())
    )


def without(marker: int) -> bytes:
    data = saved("JPEG")
    while (at := data.find(bytes([0xFF, marker]))) >= 0:
        (length,) = struct.unpack_from(">H", data, at + 2)
        data = data[:at] + data[at + 2 + length :]
    return data


def exif_bomb(size: int) -> bytes:
    """Return a directory whose entries each claim a megabyte of the block."""
    count = min(65_535, size // 12 - 1)
    entries = b"".join(
        struct.pack("<HHII", i + 1, 7, min(size, 1 << 20), 0) for i in range(count) if i + 1 != 0x0112
    )
    return (b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", count) + entries).ljust(size, b"\x00")


def exif_loop() -> bytes:
    entry = struct.pack("<HHII", 0x8769, 4, 1, 8)  # a further directory, which is this one again
    return b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", 1) + entry + struct.pack("<I", 8)


def many_scans(count: int) -> bytes:
    """Return a progressive JPEG whose last scan is repeated."""
    data = saved("JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + b"\xff\xd9"


def restarts_damaged() -> bytes:
    data = bytearray(
        saved(
            "JPEG",
            Image.effect_mandelbrot((32, 24), (-2, -1, 1, 1), 50).convert("RGB"),
            restart_marker_blocks=1,
        )
    )
    for i in range(len(data) - 1):
        if data[i] == 0xFF and 0xD0 <= data[i + 1] <= 0xD7:
            data[i + 1] = 0xD0
    return bytes(data)


def without_adobe() -> bytes:
    data = saved("JPEG", plain().convert("CMYK"))
    at = data.index(b"\xff\xee")
    return data[:at] + data[at + 16 :]


MPF = (
    b"MPF\x00II*\x00\x08\x00\x00\x00"
    + struct.pack("<H", 1)
    + struct.pack("<HHII", 0xB001, 4, 1, 2**32 - 1)
    + b"\x00" * 8
)

JPEG = {
    "a frame of 65,500 × 65,500": Case(lambda: reframed(height=65_500, width=65_500), "too_many_pixels"),
    "a frame of 65,500 × 8": Case(lambda: reframed(width=65_500, height=8), IMAGE, (65_500, 8)),
    "no height": Case(lambda: reframed(height=0), "truncated"),
    "lossless": Case(lambda: reframed(0xC3), "bad_format"),
    "hierarchical": Case(lambda: reframed(0xC5), "bad_format"),
    "12 bits": Case(lambda: reframed(0xC1, bits=12), "bad_format"),
    "two components": Case(lambda: reframed(components=2), "bad_format"),
    "two frames": Case(lambda: saved("JPEG").replace(b"\xff\xda", saved("JPEG")[frame(saved("JPEG")) :][:19] + b"\xff\xda"), "truncated"),
    "no frame": Case(lambda: without(0xC0), "truncated"),
    "no quantization": Case(lambda: without(0xDB), "truncated"),
    "no scan": Case(lambda: saved("JPEG")[: saved("JPEG").index(b"\xff\xda")] + b"\xff\xd9", "truncated"),
    "only its first bytes": Case(lambda: b"\xff\xd8\xff\xe0", "truncated"),
    "a scan that begins like the box of an AVIF": Case(lambda: b"\xff\xd8\xff\xdaftyp", "truncated"),
    "a comment that begins like the box of an AVIF": Case(
        lambda: jpeg_with(segment(0xFE, b"yp" + b" " * (0x6674 - 4))), IMAGE
    ),
    "only fill bytes": Case(lambda: b"\xff\xd8" + b"\xff" * 5_000_000, "truncated"),
    "1,000 scans": Case(lambda: many_scans(1000), "bad_format"),
    "50 scans": Case(lambda: many_scans(50), IMAGE),
    "a table that is shorter than its own length": Case(
        lambda: jpeg_with(b"\xff\xdb\x00\x01"), "truncated"
    ),
    "a comment that is shorter than its own length": Case(lambda: jpeg_with(b"\xff\xfe\x00\x00"), IMAGE),
    "more segments than any picture": Case(lambda: jpeg_with(segment(0xFE, b"") * 110_000), "truncated"),
    "an EXIF bomb": Case(lambda: jpeg_with(segment(0xE1, b"Exif\x00\x00" + exif_bomb(65_000)) * 40), IMAGE),
    "EXIF that points to itself": Case(lambda: jpeg_with(segment(0xE1, b"Exif\x00\x00" + exif_loop())), IMAGE),
    "EXIF that is cut": Case(lambda: jpeg_with(segment(0xE1, b"Exif\x00\x00II*\x00\xff\xff\xff\xff")), IMAGE),
    "an index that promises four billion pictures": Case(lambda: jpeg_with(segment(0xE2, MPF)), IMAGE),
    "a profile of 255 parts, of which one is there": Case(
        lambda: jpeg_with(segment(0xE2, b"ICC_PROFILE\x00\x01\xffrubbish")), IMAGE
    ),
    "a profile that is none": Case(lambda: saved("JPEG", icc_profile=b"rubbish" * 100), IMAGE),
    "a page in its comment": Case(lambda: jpeg_with(segment(0xFE, b"<html><script>alert(1)</script>")), IMAGE),
    "with a program in front": Case(lambda: b"MZ" + saved("JPEG"), "not_an_image"),
    "with a film behind it": Case(lambda: saved("JPEG") + b"\x00\x00\x00\x18ftypmp42" + random.Random(0).randbytes(200_000), IMAGE),
    "restart markers out of order": Case(restarts_damaged, IMAGE),
    "four inks with Adobe's mark": Case(lambda: saved("JPEG", plain().convert("CMYK")), IMAGE),
    "four inks without": Case(without_adobe, IMAGE),
    "without its last bytes": Case(lambda: saved("JPEG")[:-2], "truncated"),
    "arithmetic, of Huffman's data": Case(lambda: reframed(0xC9), IMAGE),
}  # fmt: skip
