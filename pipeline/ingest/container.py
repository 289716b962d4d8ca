"""What a decoder gets to see of a file, and how many parts a file may have."""

from dataclasses import dataclass

MAX_PARTS = 100_000
"""Segments, chunks or blocks of a file; more are a bomb."""
MAX_PROFILE = 4 << 20
"""Bytes of a color profile; a larger one is ignored. Those of printing presses have 0.5 to 3 MB."""


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
    canvas: tuple[int, int] | None = None
    """Width and height of the picture, where `data` covers only a part of it; the rest is transparent."""
    offset: tuple[int, int] = (0, 0)
    """Column and row of the canvas where `data` begins."""
