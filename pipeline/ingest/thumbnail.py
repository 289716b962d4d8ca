"""Compute the small images by which near-duplicates are found, and the sharpness of an image."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

SIDE = (
    32  # pixels: 4 × the size of the 64-bit hash (imagehash's highfreq_factor), 2 × that of the 256-bit hash
)
COLOR_SIDE = 8  # pixels of the small image in color
THUMBNAIL_BYTES = SIDE * SIDE + COLOR_SIDE * COLOR_SIDE * 3
SHARPNESS_ROWS = 64  # about so many rows are used; all rows would cost as much as the hashes


@dataclass(frozen=True)
class Thumbnail:
    """The data from which fingerprints are computed.

    pixels: SIDE × SIDE gray levels, then COLOR_SIDE × COLOR_SIDE × (red, green, blue), row by row. sharpness: variance of
    the Laplacian.
    """

    pixels: bytes
    sharpness: float


def thumbnail(image: Image.Image) -> Thumbnail:
    """Shrink an image of any size and mode (in gray, as `imagehash.phash` does), and measure its sharpness."""
    gray = image.convert("L")
    small = gray.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    color = image if image.mode in ("RGB", "RGBX") else image.convert("RGB")
    means = color.resize((COLOR_SIDE, COLOR_SIDE), Image.Resampling.BOX).convert("RGB")
    return Thumbnail(small.tobytes() + means.tobytes(), _sharpness(np.asarray(gray)))


def _sharpness(gray: np.ndarray) -> float:
    """Return the variance of the four-neighbor Laplacian of a uint8 image over evenly spaced rows; 0 below 3×3 pixels."""
    height, width = gray.shape
    if min(height, width) < 3:
        return 0.0
    step = max(1, (height - 2) // SHARPNESS_ROWS)
    above, center, below = (gray[i : height - 2 + i : step].astype(np.int16) for i in range(3))
    laplacian = 4 * center[:, 1:-1]
    for neighbor in (center[:, :-2], center[:, 2:], above[:, 1:-1], below[:, 1:-1]):
        laplacian -= neighbor
    # Sums of integers below 2^53 are exact in floats, in any order: the result is the same on every machine. A product of
    # vectors (@) would start the threads of BLAS in every decoding process.
    values = laplacian.astype(np.float64)
    count, total, squares = values.size, int(values.sum()), int(np.square(values).sum())
    return (squares - total * total / count) / count
