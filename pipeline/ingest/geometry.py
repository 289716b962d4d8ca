"""Which part of a picture is kept, what size it gets, and how much of a JPEG need be decoded for that."""

from pipeline.config import IngestConfig

MARGIN = 2
"""A JPEG that is decoded at a part of its size still has so many pixels for each one of the result, along each side."""

Box = tuple[float, float, float, float]
"""left, top, right, bottom, in pixels"""


def plan(width: int, height: int, config: IngestConfig) -> tuple[Box, tuple[int, int]]:
    """What is kept of a picture (left, top, right, bottom), and the size that this gets."""
    whole = (0.0, 0.0, float(width), float(height))
    size = config.size
    if config.resize == "none":
        return whole, (width, height)
    if config.resize == "exact":
        return whole, (size, size)
    if config.resize == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        return (left, top, left + side, top + side), (size, size)
    longer = max(width, height)
    return whole, (max(1, round(width * size / longer)), max(1, round(height * size / longer)))


def reduction(width: int, height: int, config: IngestConfig) -> int:
    """The part of its size, 1/8, 1/4, 1/2 or all of it, at which a JPEG of so many pixels may be decoded."""
    if not config.scaled_decoding:
        return 1
    (left, top, right, bottom), (w, h) = plan(width, height, config)
    fits = [k for k in (8, 4, 2) if right - left >= MARGIN * k * w and bottom - top >= MARGIN * k * h]
    return fits[0] if fits else 1
