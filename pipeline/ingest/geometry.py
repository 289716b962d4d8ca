"""Compute the crop box and the size of the normalized image, and the scale at which a JPEG is decoded."""

from pipeline.ingest_config import IngestConfig

MARGIN = 2
"""Smallest number of decoded JPEG pixels per pixel of the result, along each side."""

Box = tuple[float, float, float, float]
"""left, top, right, bottom, in pixels"""


def crop_and_size(width: int, height: int, config: IngestConfig) -> tuple[Box, tuple[int, int]]:
    """Return the box of the image that is kept, and the size (width, height) that it is resized to."""
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


def jpeg_reduction(width: int, height: int, config: IngestConfig) -> int:
    """Return the divisor (8, 4, 2 or 1) of the size at which a JPEG of `width` × `height` pixels may be decoded."""
    if not config.scaled_decoding:
        return 1
    (left, top, right, bottom), (w, h) = crop_and_size(width, height, config)
    fits = [k for k in (8, 4, 2) if right - left >= MARGIN * k * w and bottom - top >= MARGIN * k * h]
    return fits[0] if fits else 1
