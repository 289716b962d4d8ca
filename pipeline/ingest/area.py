"""Resizing by exact area: every pixel of the result is the mean of what it covers, parts of pixels included.

This is what OpenCV calls INTER_AREA and TensorFlow AREA. Pillow's box filter is another: it takes or leaves whole
pixels. Along one axis the mean is a product with a sparse matrix of whole numbers, so that the sums come out exactly,
and the same on every machine.
"""

from functools import lru_cache

import numpy as np
from PIL import Image
from scipy.sparse import csr_array, eye_array, kron

from pipeline.ingest.geometry import Box

_STRIP = 1 << 22  # values of the picture worked on at once, which bounds the memory


def resize_by_area(picture: Image.Image, box: Box, size: tuple[int, int]) -> Image.Image:
    """Shrink `box` (left, top, right, bottom, in pixels or whole sixteenths) of an RGB picture to `size`.

    Neither side may grow. Halves are rounded to even.
    """
    left, top, right, bottom = box
    width, height = size
    x0, y0, x1, y1 = int(left), int(top), int(-(-right // 1)), int(-(-bottom // 1))
    down, down_total = _coverage(top - y0, bottom - y0, height, 1)
    across, across_total = _coverage(left - x0, right - x0, width, 3)
    total = down_total * across_total
    exact = np.int32 if total * 255 < 1 << 31 else np.float64  # for pictures up to 8 megapixels, and above
    down, across = down[exact], across[exact]
    values = (x1 - x0) * 3
    step = max(1, _STRIP // values * height // (y1 - y0))
    strips = []
    for i in range(0, height, step):
        part, lo, hi = down, 0, y1 - y0
        if step < height:
            inside = down[i : i + step].indices
            lo, hi = int(inside.min()), int(inside.max()) + 1
            part = down[i : i + step, lo:hi]
        pixels = np.asarray(picture.crop((x0, y0 + lo, x1, y0 + hi)))
        strips.append(part @ pixels.reshape(hi - lo, values).astype(exact))
    rows = strips[0] if len(strips) == 1 else np.concatenate(strips)
    means = (across @ np.ascontiguousarray(rows.T)) / total
    result = np.rint(means, out=means).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(result.T).reshape(height, width, 3))


@lru_cache(256)
def _coverage(first: float, last: float, count: int, channels: int) -> tuple[dict[type, csr_array], int]:
    """How much each of `count` equal parts of first…last covers of each pixel, as whole numbers, and their sum.

    A matrix by type (count·channels, pixels·channels), for pixels whose channels lie side by side.
    """
    # In units in which the borders of the parts and of the pixels are whole numbers.
    pixel, start, step = 16 * count, round(first * 16 * count), round((last - first) * 16)
    shared = int(np.gcd.reduce([pixel, start, step]))
    pixel, start, step = pixel // shared, start // shared, step // shared
    borders = start + step * np.arange(count + 1)
    lo, hi = borders[:-1] // pixel, -(-borders[1:] // pixel)
    part = np.repeat(np.arange(count), hi - lo)
    source = np.arange(len(part)) + (hi - np.cumsum(hi - lo))[part]
    covered = np.minimum(borders[part + 1], (source + 1) * pixel) - np.maximum(borders[part], source * pixel)
    matrix = csr_array((covered.astype(np.float64), (part, source)), (count, int(hi[-1])))
    matrix = kron(matrix, eye_array(channels), "csr")
    return {kind: matrix.astype(kind) for kind in (np.int32, np.float64)}, step
