"""The part of an image file that is decoded, and limits for reading files."""

from dataclasses import dataclass

MAX_PARTS = 100_000
"""Largest number of segments, chunks or blocks that are read of a file."""
MAX_PROFILE = 4 << 20
"""Largest color profile in bytes; a larger one is ignored. Profiles of printing presses have 0.5 to 3 MB."""


@dataclass(frozen=True)
class Container:
    """The part of a file that is decoded: one image without comments, further frames and metadata.

    format: Pillow's name of the format. data: a complete file of this format. exif, profile: empty if the file has none,
    or if Pillow reads them safely (WebP, EXIF of AVIF).
    """

    format: str
    data: bytes
    animated: bool = False
    exif: bytes = b""
    profile: bytes = b""
    adobe: bool = False
    """Whether a JPEG has an Adobe marker: its CMYK values are then stored inverted."""
    frame: tuple[int, int] | None = None
    """Width and height of a JPEG of three components with ordinary headers, which libjpeg can be given at once."""
    canvas: tuple[int, int] | None = None
    """Width and height of the image, if `data` covers only a part of it; the rest is transparent."""
    offset: tuple[int, int] = (0, 0)
    """Column and row of the canvas at which `data` begins."""
