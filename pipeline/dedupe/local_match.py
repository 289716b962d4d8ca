"""Confirm that one image is an altered copy of another: crop, border, text over it, mirrored.

The images are aligned, and cut into blocks of 8×8 pixels. Of the blocks with detail, the share that agree is the match.
Another photograph of a similar thing agrees in shape, and so in some blocks; a copy agrees in nearly all but those that
something covers. The limits were set by measurement (docs/results/duplicates.md).
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline.dedupe.alignment import align, warp
from pipeline.dedupe.thumbnail_check import ThumbnailCheck

SIDE = 64  # pixels
BLOCK = 8  # pixels along each side of a block
MIN_CORRELATION = 0.7
"""Lowest correlation of two blocks that agree."""
MIN_DETAIL = 3.0
"""Standard deviation of the gray levels above which a block has detail."""
MIN_BLOCKS = 12
"""Fewest blocks with detail that decide; with fewer the match is 0."""
MIN_COARSE_CORRELATION = 0.5
"""Correlation of the images at the coarsest level below which they are not aligned further."""
PAIRS_AT_ONCE = 64


@dataclass(frozen=True)
class Matches:
    """match: share of detailed blocks that agree, float32 (n,), 0 to 1. is_mirrored: whether `b` was mirrored, bool (n,)."""

    match: np.ndarray
    is_mirrored: np.ndarray


def match_image(image: Image.Image) -> np.ndarray:
    """Return the gray levels that are compared, uint8 (SIDE, SIDE)."""
    return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))


def can_match(thumbnails: np.ndarray) -> np.ndarray:
    """Return for which images a match is evidence, bool (n,): not for flags, letters and drawings, whose blocks are alike.

    thumbnails: uint8 (n, bytes), as stored in the image table.
    """
    result: np.ndarray = ~ThumbnailCheck(thumbnails).is_plain
    return result


def matches(a: np.ndarray, b: np.ndarray, mirrored: bool) -> Matches:
    """Compare each image in `a` with that in `b`, uint8 (n, SIDE, SIDE), and with its mirror image if `mirrored`.

    a: the possible copy. About 2 ms of CPU time for each orientation of a pair that is refined, 0.6 ms for others.
    """
    share, is_mirrored = np.zeros(len(a), np.float32), np.zeros(len(a), bool)
    for start in range(0, len(a), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        copy, original = a[part].astype(np.float32), b[part].astype(np.float32)
        share[part] = _match(copy, original)
        if mirrored:
            other = _match(copy, original[:, :, ::-1])
            is_mirrored[part] = other > share[part]
            share[part] = np.maximum(share[part], other)
    return Matches(share, is_mirrored)


def _match(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    transform, correlation = align(a, b, MIN_COARSE_CORRELATION)
    share = np.zeros(len(a), np.float32)
    rows = np.flatnonzero(correlation >= MIN_COARSE_CORRELATION)
    seen, inside = warp(b[rows], transform[rows])
    one, other, complete = (_blocks(values) for values in (a[rows], seen, inside))
    one, other = (values - values.mean(axis=2, keepdims=True) for values in (one, other))
    detail = [np.sqrt((values * values).mean(axis=2)) for values in (one, other)]
    correlation = (one * other).mean(axis=2) / np.maximum(detail[0] * detail[1], 1e-3)
    counts = (complete.min(axis=2) > 0) & (np.maximum(*detail) > MIN_DETAIL)
    total = counts.sum(axis=1)
    agree = (counts & (correlation > MIN_CORRELATION)).sum(axis=1)
    share[rows] = np.where(total >= MIN_BLOCKS, np.round(agree / np.maximum(total, 1), 3), 0)
    return share


def _blocks(images: np.ndarray) -> np.ndarray:
    """Cut images (n, SIDE, SIDE) into blocks (n, blocks, pixels)."""
    n, count = len(images), SIDE // BLOCK
    cut = images.reshape(n, count, BLOCK, count, BLOCK).swapaxes(2, 3)
    return cut.reshape(n, count * count, BLOCK * BLOCK)
