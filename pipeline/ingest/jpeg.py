"""The parts of a JPEG that its decoder sees."""

import re
import struct

from pipeline.ingest.container import MAX_PARTS, Container
from pipeline.rejections import Rejected

MAX_SCANS = 100
"""Passes of a progressive JPEG, each of which walks the whole picture; encoders make about ten."""

_MARKER = re.compile(rb"\xff([^\x00\xff])")  # a zero behind it means data; more of it are fill bytes


def read_jpeg(data: bytes) -> Container:
    """ITU-T T.81, annex B. Kept: tables, frame, scans, and what JFIF and Adobe say of the colors."""
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
