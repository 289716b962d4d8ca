"""Resizing by exact area: every pixel of the result is the mean of what it covers, parts of pixels included.

This is what OpenCV calls INTER_AREA and TensorFlow AREA. Pillow's box filter is another: it takes or leaves whole
pixels. Along one axis the mean is a product with a sparse matrix of whole numbers, so that the sums come out exactly,
and the same on every machine.
"""

from functools import lru_cache

import numpy as np
from PIL import Image
from scipy.sparse import csr_array

from pipeline.ingest.geometry import Box

_STRIP = 1 << 18  # values of the picture worked on at once, for the processor's cache and for bounded memory
_CHANNELS = 4  # a pixel as Pillow holds it, the last one unused: it can be moved as one thing


def resize_by_area(picture: Image.Image, box: Box, size: tuple[int, int]) -> Image.Image:
    """Shrink `box` (left, top, right, bottom, in pixels or whole sixteenths) of an RGB picture to `size`.

    Neither side may grow. Halves are rounded to even.
    """
    left, top, right, bottom = box
    width, height = size
    x0, y0, x1, y1 = int(left), int(top), int(-(-right // 1)), int(-(-bottom // 1))
    values = (x1 - x0) * _CHANNELS
    rows = max(1, _STRIP // values * height // (y1 - y0))
    tall, wide = _units(top - y0, bottom - y0, height), _units(left - x0, right - x0, width)
    total = tall[2] * wide[2]
    # Sums of rows are exact in the 24 bits of a float, which is multiplied faster, those of rows and columns in 31 for
    # pictures up to 8 megapixels.
    small = tall[2] * 255 < 1 << 24 and total * 256 < 1 << 31
    one, both, pixel = ("f", "i", "D") if small else ("d", "q", "V32")
    down = _coverage(*tall, height, rows, one)
    ((_, _, across),) = _coverage(*wide, width, width, both)
    result = np.empty((height, width), np.uint32)
    for i, (lo, hi, part) in zip(range(0, height, rows), down, strict=True):
        pixels = picture.crop((x0, y0 + lo, x1, y0 + hi)).tobytes("raw", "RGBX")
        sums = part @ np.frombuffer(pixels, np.uint8).reshape(hi - lo, values).astype(one)
        columns = np.ascontiguousarray(sums.astype(both).view(pixel).T).view(both)
        means = _divided(across @ columns, total)
        result[i : i + rows] = means.astype(np.uint8).view(np.uint32).T
    return Image.frombytes("RGB", size, result.tobytes(), "raw", "RGBX")


def _divided(sums: np.ndarray, total: int) -> np.ndarray:
    means = (sums + total // 2) // total
    if total % 2 == 0:  # else there are no halves
        means -= (means * total - sums == total // 2) & means & 1
    return means


def _units(first: float, last: float, count: int) -> tuple[int, int, int]:
    """Size of a pixel, start, and size of a part, if first…last is cut into `count` parts; in the largest unit in which
    the borders of the parts and of the pixels are whole numbers."""
    pixel, start, step = 16 * count, round(first * 16 * count), round((last - first) * 16)
    shared = int(np.gcd.reduce([pixel, start, step]))
    return pixel // shared, start // shared, step // shared


@lru_cache(256)
def _coverage(
    pixel: int, start: int, step: int, count: int, rows: int, kind: str
) -> list[tuple[int, int, csr_array]]:
    """How much each of `count` parts covers of each pixel. Arguments as `_units` gives them.

    For each `rows` parts: the pixels lo…hi that they cover, and a matrix (rows, hi - lo).
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
        matrix = (covered[inside].astype(kind), source[inside] - lo[i], ends[i : end + 1] - ends[i])
        first_pixel, last_pixel = int(lo[i]), int(hi[end - 1])
        strips.append((first_pixel, last_pixel, csr_array(matrix, (end - i, last_pixel - first_pixel))))
    return strips
