"""The small pictures that near-duplicates are found by, and the sharpness of the full one."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

SIDE = (
    32  # pixels: 4 × the size of the 64-bit hash (imagehash's highfreq_factor), 2 × that of the 256-bit hash
)
COLOR_SIDE = 8  # pixels of the picture in color
THUMBNAIL_BYTES = SIDE * SIDE + COLOR_SIDE * COLOR_SIDE * 3
SHARPNESS_ROWS = 64  # rows looked at, about; all of them would cost as much as the hashes


@dataclass(frozen=True)
class Thumbnail:
    """What the fingerprints need of a picture.

    `pixels`: SIDE × SIDE gray levels, then COLOR_SIDE × COLOR_SIDE times red, green and blue, row by row. `sharpness`:
    variance of the Laplacian.
    """

    pixels: bytes
    sharpness: float


def thumbnail(picture: Image.Image) -> Thumbnail:
    """Shrink a picture of any size and mode, the gray one as `imagehash.phash` does, and measure its sharpness."""
    gray = picture.convert("L")
    small = gray.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    color = picture if picture.mode == "RGB" else picture.convert("RGB")
    means = color.resize((COLOR_SIDE, COLOR_SIDE), Image.Resampling.BOX)
    return Thumbnail(small.tobytes() + means.tobytes(), _sharpness(np.asarray(gray)))


def _sharpness(gray: np.ndarray) -> float:
    """Variance of the four-neighbor Laplacian of a uint8 picture, over evenly spaced rows; 0 below 3×3 pixels."""
    height, width = gray.shape
    if min(height, width) < 3:
        return 0.0
    step = max(1, (height - 2) // SHARPNESS_ROWS)
    above, here, below = (gray[i : height - 2 + i : step].astype(np.int32) for i in range(3))
    laplacian = 4 * here[:, 1:-1] - here[:, :-2] - here[:, 2:] - above[:, 1:-1] - below[:, 1:-1]
    # In whole numbers, so that it is the same on every machine.
    count, total, squares = laplacian.size, int(laplacian.sum()), int((laplacian * laplacian).sum())
    return (squares - total * total / count) / count
