"""Check pairs of near hashes by the thumbnails: a gray one, and a smaller one in color.

A perceptual hash sees the signs of frequencies, and no color. If frequencies vanish (stripes, symmetric letters), or a
small figure is on a plain background, different images can have the same hash. So near hashes are near-duplicates
without further checks only if both images are detailed, as photographs are. For plain images the colors must agree as
well; for weak ones, whose hash carries little information, the gray thumbnails must also be nearly equal. The limits were
set by measurement (docs/results/duplicates.md).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.ingest.fingerprint import frequencies
from pipeline.ingest.thumbnail import COLOR_SIDE, SIDE, THUMBNAIL_BYTES

PAIRS_PER_BATCH = 1 << 14

MIN_FREQUENCIES = 40
"""Frequencies, of the 63 behind the 64-bit hash, that must be present in an image that is not weak; photographs have 50
or more."""
MIN_AMPLITUDE = 0.1
"""Amplitude of a frequency that is present, in gray levels (root mean square)."""
MIN_FIGURE = 0.25
"""Share of the gray thumbnail that must differ from its most frequent level in an image that is not weak."""
MIN_DETAIL = 0.16
"""Share of the gray thumbnail that must differ from its three most frequent levels in an image that is not plain;
photographs have more."""
LEVEL_TOLERANCE = 2
"""Gray levels by which pixels of one level may vary."""

MAX_COLOR_PLAIN, MAX_COLOR_WEAK, MAX_COLOR_SHARE = 8.0, 3.0, 0.05
"""Largest color difference of plain and of weak images in levels, or as a share of their contrasts."""
MAX_DECORRELATION = 0.02
"""Largest value of 1 − the correlation of the gray levels of weak images."""

PairPredicate = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Function of row indices a and b, int64 (pairs,) each, that returns whether each pair may be copies, bool (pairs,)."""


@dataclass(frozen=True)
class ThumbnailCheck:
    """Comparison of n images by their thumbnails, uint8 (n, bytes), as stored in the image table."""

    thumbnails: np.ndarray

    @classmethod
    def of(cls, column: list[bytes]) -> "ThumbnailCheck":
        """Return the check for a column of the image table."""
        return cls(np.frombuffer(b"".join(column), np.uint8).reshape(len(column), THUMBNAIL_BYTES))

    @property
    def is_weak(self) -> np.ndarray:
        """Whether the hash of each image carries too little information to decide alone, bool (n,)."""
        return self._weak_and_plain[0]

    @property
    def is_plain(self) -> np.ndarray:
        """Whether each image consists of a few even areas, bool (n,); weak images count as plain."""
        return self._weak_and_plain[1]

    @cached_property
    def _weak_and_plain(self) -> np.ndarray:
        result = np.zeros((2, len(self.thumbnails)), bool)
        for start in range(0, result.shape[1], PAIRS_PER_BATCH):
            gray = self.thumbnails[start : start + PAIRS_PER_BATCH, : SIDE * SIDE]
            is_present = np.abs(frequencies(gray.reshape(-1, SIDE, SIDE))) >= MIN_AMPLITUDE
            count = is_present.sum(axis=(1, 2)) - is_present[:, 0, 0]
            figure, detail = _figure_and_detail(gray)
            weak = (count < MIN_FREQUENCIES) | (figure < MIN_FIGURE)
            result[:, start : start + PAIRS_PER_BATCH] = weak, weak | (detail < MIN_DETAIL)
        return result

    def agree(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return whether the images at indices `a` and `b` may be copies of each other, bool (pairs,)."""
        none = np.zeros(len(a), np.int64)
        return self.agree_oriented(a, b, none, none)

    def agree_oriented(
        self, a: np.ndarray, b: np.ndarray, orientation_a: np.ndarray, orientation_b: np.ndarray
    ) -> np.ndarray:
        """Compare as `agree` does, with each image in an orientation (indices into ORIENTATIONS)."""
        result = np.zeros(len(a), bool)
        for start in range(0, len(a), PAIRS_PER_BATCH):
            part = slice(start, start + PAIRS_PER_BATCH)
            result[part] = self._agree(a[part], b[part], orientation_a[part], orientation_b[part])
        return result

    def _agree(
        self, a: np.ndarray, b: np.ndarray, orientation_a: np.ndarray, orientation_b: np.ndarray
    ) -> np.ndarray:
        result = np.ones(len(a), bool)
        weak = self.is_weak[a] | self.is_weak[b]
        rows = np.flatnonzero(self.is_plain[a] | self.is_plain[b])
        colors = self._colors(a[rows], orientation_a[rows]), self._colors(b[rows], orientation_b[rows])
        result[rows] = _colors_agree(*colors, np.where(weak[rows], MAX_COLOR_WEAK, MAX_COLOR_PLAIN))
        rows = np.flatnonzero(result & weak)
        gray = self._gray(a[rows], orientation_a[rows]), self._gray(b[rows], orientation_b[rows])
        result[rows] = 1 - _correlation(*gray) <= MAX_DECORRELATION
        return result

    def _gray(self, rows: np.ndarray, orientations: np.ndarray) -> np.ndarray:
        images = self.thumbnails[rows, : SIDE * SIDE].reshape(len(rows), SIDE, SIDE, 1)
        return _oriented(images, orientations).reshape(len(rows), SIDE * SIDE).astype(np.float64)

    def _colors(self, rows: np.ndarray, orientations: np.ndarray) -> np.ndarray:
        images = self.thumbnails[rows, SIDE * SIDE :].reshape(len(rows), COLOR_SIDE, COLOR_SIDE, 3)
        return (
            _oriented(images, orientations).reshape(len(rows), COLOR_SIDE * COLOR_SIDE, 3).astype(np.float64)
        )


def _oriented(images: np.ndarray, orientations: np.ndarray) -> np.ndarray:
    """Return images (n, side, side, channels), each in an orientation (indices into ORIENTATIONS)."""
    result = images.copy()
    for orientation in np.unique(orientations[orientations > 0]):
        rows = orientations == orientation
        part = images[rows]
        if orientation in (1, 3, 5, 6):
            part = part[:, :, ::-1]
        if orientation in (2, 3, 6):
            part = part[:, ::-1]
        result[rows] = part.swapaxes(1, 2) if orientation >= 4 else part
    return result


def _figure_and_detail(gray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares of pixels outside the most frequent gray level, and outside the three most frequent ones.

    gray: uint8 (n, pixels).
    """
    n, pixels = gray.shape
    codes = gray.astype(np.int64) + 256 * np.arange(n)[:, None]
    histogram = np.bincount(codes.reshape(-1), minlength=256 * n).reshape(n, 256)
    levels = np.arange(256)
    low, high = (levels - LEVEL_TOLERANCE).clip(0), (levels + LEVEL_TOLERANCE + 1).clip(None, 256)
    shares = []
    for _ in range(3):
        sums = np.pad(histogram.cumsum(axis=1), ((0, 0), (1, 0)))
        most = (sums[:, high] - sums[:, low]).argmax(axis=1)
        histogram[np.abs(levels - most[:, None]) <= LEVEL_TOLERANCE] = 0
        shares.append(histogram.sum(axis=1) / pixels)
    return shares[0], shares[2]


def _colors_agree(one: np.ndarray, other: np.ndarray, limit: np.ndarray) -> np.ndarray:
    contrast = sum(_rms(colors - colors.mean(axis=1, keepdims=True)) for colors in (one, other))
    return _rms(one - other) <= np.maximum(limit, MAX_COLOR_SHARE * contrast)


def _rms(values: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.sqrt((values * values).mean(axis=tuple(range(1, values.ndim))))
    return result


def _correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the correlation of the gray levels of each pair, float64 (pairs,); 0 if an image is flat."""
    one, other = (gray - gray.mean(axis=1, keepdims=True) for gray in (one, other))
    scale = np.sqrt((one * one).sum(axis=1) * (other * other).sum(axis=1))
    return np.divide((one * other).sum(axis=1), scale, out=np.zeros(len(scale)), where=scale > 0)
