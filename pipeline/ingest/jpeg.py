"""Reduce a JPEG to the segments that are decoded."""

import re
import struct

import numpy as np

from pipeline.ingest.container import MAX_PARTS, Container
from pipeline.rejections import Rejected

MAX_SCANS = 100
"""Largest number of scans of a progressive JPEG. Decoding time grows with each; encoders write about ten."""

_MARKER = re.compile(
    rb"\xff([^\x00\xff])"
)  # 0xFF is followed by zero in image data; repeated 0xFF are fill bytes
# bytes of a JFIF or Adobe segment; Pillow refuses files with shorter ones, libjpeg ignores the segment
_SMALLEST_APP = 7


def read_jpeg(data: bytes) -> Container:
    """Keep tables, frame, scans, and the JFIF and Adobe segments, which describe the colors (ITU-T T.81, annex B)."""
    kept, exif, adobe, position = [b"\xff\xd8"], b"", False, 2
    sizes: list[tuple[int, int] | None] = []
    profile: dict[int, bytes] = {}
    for _ in range(MAX_PARTS):
        match = _MARKER.search(data, position)
        if match is None or match[1] == b"\xd9":
            break
        marker, position = match[1][0], match.end()
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a segment
            continue
        (length,) = struct.unpack_from(">H", data, position)
        # The length counts its own two bytes. libjpeg refuses a shorter segment too, except comments and APPn.
        if length < 2 and not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            raise Rejected("truncated", f"JPEG: a segment of {length} bytes")
        segment, body = data[position - 2 : position + length], data[position + 2 : position + length]
        if marker == 0xDA:
            if _scan_count(data, position + length) >= MAX_SCANS:
                raise Rejected("bad_format", f"JPEG with more than {MAX_SCANS} scans")
            whole = sorted(profile) == list(range(1, len(profile) + 1))
            joined = b"".join(profile[i] for i in sorted(profile)) if whole else b""
            frame = sizes[0] if len(sizes) == 1 else None
            return Container(
                "JPEG", b"".join([*kept, data[position - 2 :]]), False, exif, joined, adobe, frame
            )
        if marker == 0xE1 and body.startswith(b"Exif\x00\x00"):
            exif = exif or body[6:]
        elif marker == 0xE2 and body.startswith(b"ICC_PROFILE\x00") and len(body) > 14:
            profile[body[12]] = body[14:]
        elif (marker, body[:5]) in ((0xEE, b"Adobe"), (0xE0, b"JFIF\x00")):
            adobe = adobe or marker == 0xEE
            kept.append(segment)
            if len(body) < _SMALLEST_APP:
                sizes.append(None)
        elif not 0xE0 <= marker <= 0xEF and marker != 0xFE:
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
                sizes.append(_check_frame(marker, body))
            kept.append(segment)
        position += length
    raise Rejected("truncated", "JPEG: no image data")


def _scan_count(data: bytes, position: int) -> int:
    """Return the number of scans after the first one, exact only from MAX_SCANS on."""
    bytes_ = np.frombuffer(data, np.uint8)[position:]
    count = int(np.count_nonzero((bytes_[:-1] == 0xFF) & (bytes_[1:] == 0xDA)))  # faster than bytes.count
    if count < MAX_SCANS:
        return count
    count = 0  # data after the image, such as a video, may contain these two bytes by chance
    while count < MAX_SCANS and (match := _MARKER.search(data, position)) and match[1] != b"\xd9":
        position = match.end()
        if not b"\xd0" <= match[1] <= b"\xd8":
            count += match[1] == b"\xda"
            position += int.from_bytes(data[position : position + 2], "big")
    return count


def _check_frame(marker: int, body: bytes) -> tuple[int, int] | None:
    """Return the width and the height if there are three components. Raises Rejected."""
    if marker not in (0xC0, 0xC1, 0xC2, 0xC9, 0xCA) or body[0] != 8 or body[5] not in (1, 3, 4):
        raise Rejected(
            "bad_format", f"JPEG of type SOF{marker - 0xC0} with {body[0]} bits and {body[5]} components"
        )
    height, width = struct.unpack_from(">HH", body, 1)
    return (width, height) if body[5] == 3 else None
