"""Resize by exact area: each pixel of the result is the mean of the area that it covers, fractions of pixels included.

This is INTER_AREA of OpenCV and AREA of TensorFlow. Pillow's box filter differs: it includes or excludes whole pixels.
Along each axis the mean is a product with a sparse matrix of integers, so sums are exact, and equal on every machine.
"""

from functools import lru_cache

import numpy as np
from scipy.sparse import csr_array

from pipeline.ingest.geometry import Box
from pipeline.ingest.pixels import CHANNELS

# values processed at once: four times as many leave the cache, and take twice as long each
_STRIP = 1 << 16


def resize_by_area(pixels: np.ndarray, box: Box, size: tuple[int, int]) -> np.ndarray:
    """Shrink `box` (left, top, right, bottom, in multiples of 1/16 pixel) of an array of pixels to `size` (width, height).

    Neither side may grow. Halves are rounded to even.
    """
    left, top, right, bottom = box
    width, height = size
    x0, y0, x1, y1 = int(left), int(top), int(-(-right // 1)), int(-(-bottom // 1))
    values = (x1 - x0) * CHANNELS
    rows = max(1, _STRIP // values * height // (y1 - y0))
    tall, wide = _units(top - y0, bottom - y0, height), _units(left - x0, right - x0, width)
    total = tall[2] * wide[2]
    one, both, pixel = _number_types(tall[2], total)
    down = _coverage(*tall, height, rows, one)
    ((_, _, across),) = _coverage(*wide, width, width, both)
    result = np.empty((height, width), np.uint32)
    for i, (lo, hi, part) in zip(range(0, height, rows), down, strict=True):
        sums = part @ pixels[y0 + lo : y0 + hi, x0:x1].astype(one).reshape(hi - lo, values)
        columns = np.ascontiguousarray(sums.astype(both, copy=False).view(pixel).T).view(both)
        means = np.rint(np.divide(across @ columns, total, dtype="f" if both == "f" else "d"))
        result[i : i + rows] = means.astype(np.uint8).view(np.uint32).T
    return result.view(np.uint8).reshape(height, width, CHANNELS)


def _number_types(tall: int, total: int) -> tuple[str, str, str]:
    """Return the smallest types that are exact for sums over rows and for sums over both axes, and that of a pixel of sums.

    tall, total: weights of a pixel of the result in these sums, whose values are at most 255 times as large. In a mean that
    is no half, the distance from a half is at least 1 / (2 total), so that its rounding in the type of the sums is harmless
    in floats of 24 bits up to a total of 2¹⁵, and otherwise in those of 53 bits. A pixel of sums is moved as one value.
    """
    if total <= 1 << 15:
        return "f", "f", "D"
    if tall * 255 < 1 << 24 and total * 255 < 1 << 31:  # up to about 8 megapixels
        return "f", "i", "D"
    return "d", "q", "V32"


def _units(first: float, last: float, count: int) -> tuple[int, int, int]:
    """Return the size of a pixel, the start, and the size of a part when first…last is divided into `count` parts.

    The unit is the largest one in which the borders of parts and pixels are integers.
    """
    pixel, start, step = 16 * count, round(first * 16 * count), round((last - first) * 16)
    shared = int(np.gcd.reduce([pixel, start, step]))
    return pixel // shared, start // shared, step // shared


@lru_cache(256)
def _coverage(
    pixel: int, start: int, step: int, count: int, rows: int, dtype: str
) -> list[tuple[int, int, csr_array]]:
    """Return how much each of `count` parts covers of each pixel; pixel, start, step: see `_units`.

    For every `rows` parts: the range lo, hi of the pixels that they cover, and a matrix (rows, hi - lo).
    """
    borders = start + step * np.arange(count + 1)
    lo, hi = borders[:-1] // pixel, -(-borders[1:] // pixel)
    ends = np.concatenate([[0], np.cumsum(hi - lo)])
    part = np.repeat(np.arange(count), hi - lo)
    source = np.arange(len(part)) + (hi - ends[1:])[part]
    covered = np.minimum(borders[part + 1], (source + 1) * pixel) - np.maximum(borders[part], source * pixel)
    strips = []
    for i in range(0, count, rows):
        end = min(count, i + rows)
        inside = slice(ends[i], ends[end])
        matrix = (covered[inside].astype(dtype), source[inside] - lo[i], ends[i : end + 1] - ends[i])
        first_pixel, last_pixel = int(lo[i]), int(hi[end - 1])
        strips.append((first_pixel, last_pixel, csr_array(matrix, (end - i, last_pixel - first_pixel))))
    return strips
