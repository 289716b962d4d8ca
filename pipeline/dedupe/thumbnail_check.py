"""A second opinion on pictures whose hashes are near: the small gray picture behind the hashes, and a smaller one in color.

A perceptual hash sees signs of frequencies, and no color. Where frequencies vanish (stripes, symmetric letters), or a
small figure stands on a plain ground, quite different pictures have one hash. So a pair of near hashes is a pair of
near-duplicates at once if both pictures are full of detail, as photographs are. Of plain pictures the colors must agree
as well, and of weak ones, whose hash says little, the small gray pictures must be nearly the same, too. The limits were
set by measurement: docs/explanation/duplicates.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.ingest.fingerprint import frequencies
from pipeline.ingest.thumbnail import COLOR_SIDE, SIDE, THUMBNAIL_BYTES

AT_ONCE = 1 << 14  # pairs compared at once

FEWEST_FREQUENCIES = 40
"""Of the 63 frequencies behind the 64-bit hash, so many must be there for it to decide; photographs have 50 or more."""
LEAST_AMPLITUDE = 0.1
"""Gray levels (root mean square) below which a frequency is not there."""
LEAST_FIGURE = 0.25
"""BucketPart of the small gray picture that must differ from its most frequent level for the hash to decide."""
LEAST_DETAIL = 0.16
"""BucketPart of it that differs from its three most frequent levels; a picture with less is plain. Photographs have more."""
LEVEL = 2
"""Gray levels by which one level may vary."""

MOST_COLOR_PLAIN, MOST_COLOR_WEAK, MOST_COLOR_SHARE = 8.0, 3.0, 0.05
"""Colors of plain and of weak pictures differ by at most so many levels, or this share of their contrasts."""
MOST_APART = 0.02
"""1 − the correlation of the gray levels of weak pictures is at most this."""
PairPredicate = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Which of the pairs (a, b) of positions, int64 (pairs,) each, agree: bool (pairs,)."""


@dataclass(frozen=True)
class ThumbnailCheck:
    """The thumbnails of n pictures, uint8 (n, bytes), as the image table has them."""

    thumbnails: np.ndarray

    @classmethod
    def of(cls, column: list[bytes]) -> "ThumbnailCheck":
        """The thumbnails for a column of the image table."""
        return cls(np.frombuffer(b"".join(column), np.uint8).reshape(len(column), THUMBNAIL_BYTES))

    @property
    def is_weak(self) -> np.ndarray:
        """Whether the hash of each picture decides nothing by itself, bool (n,)."""
        return self._kinds[0]

    @property
    def is_plain(self) -> np.ndarray:
        """Whether each picture consists of a few even areas, bool (n,); weak ones count as plain."""
        return self._kinds[1]

    @cached_property
    def _kinds(self) -> np.ndarray:
        kinds = np.zeros((2, len(self.thumbnails)), bool)
        for start in range(0, kinds.shape[1], AT_ONCE):
            gray = self.thumbnails[start : start + AT_ONCE, : SIDE * SIDE]
            there = np.abs(frequencies(gray.reshape(-1, SIDE, SIDE))) >= LEAST_AMPLITUDE
            count = there.sum(axis=(1, 2)) - there[:, 0, 0]
            figure, detail = _figure_and_detail(gray)
            weak = (count < FEWEST_FREQUENCIES) | (figure < LEAST_FIGURE)
            kinds[:, start : start + AT_ONCE] = weak, weak | (detail < LEAST_DETAIL)
        return kinds

    def agree(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Whether the pictures at positions `a` and `b` may be copies of each other, bool (pairs,)."""
        none = np.zeros(len(a), np.int64)
        return self.agree_oriented(a, b, none, none)

    def agree_oriented(
        self, a: np.ndarray, b: np.ndarray, orientation_a: np.ndarray, orientation_b: np.ndarray
    ) -> np.ndarray:
        """As `agree`, with each picture turned (indices into schemas.duplicate.ORIENTATIONS)."""
        found = np.zeros(len(a), bool)
        for start in range(0, len(a), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            found[part] = self._agree(a[part], b[part], orientation_a[part], orientation_b[part])
        return found

    def _agree(
        self, a: np.ndarray, b: np.ndarray, orientation_a: np.ndarray, orientation_b: np.ndarray
    ) -> np.ndarray:
        found = np.ones(len(a), bool)
        weak = self.is_weak[a] | self.is_weak[b]
        rows = np.flatnonzero(self.is_plain[a] | self.is_plain[b])
        colors = self._colors(a[rows], orientation_a[rows]), self._colors(b[rows], orientation_b[rows])
        found[rows] = _colors_agree(*colors, np.where(weak[rows], MOST_COLOR_WEAK, MOST_COLOR_PLAIN))
        rows = np.flatnonzero(found & weak)
        gray = self._gray(a[rows], orientation_a[rows]), self._gray(b[rows], orientation_b[rows])
        found[rows] = 1 - _correlation(*gray) <= MOST_APART
        return found

    def _gray(self, rows: np.ndarray, orientations: np.ndarray) -> np.ndarray:
        pictures = self.thumbnails[rows, : SIDE * SIDE].reshape(len(rows), SIDE, SIDE, 1)
        return _oriented(pictures, orientations).reshape(len(rows), SIDE * SIDE).astype(np.float64)

    def _colors(self, rows: np.ndarray, orientations: np.ndarray) -> np.ndarray:
        pictures = self.thumbnails[rows, SIDE * SIDE :].reshape(len(rows), COLOR_SIDE, COLOR_SIDE, 3)
        return (
            _oriented(pictures, orientations)
            .reshape(len(rows), COLOR_SIDE * COLOR_SIDE, 3)
            .astype(np.float64)
        )


def _oriented(pictures: np.ndarray, orientations: np.ndarray) -> np.ndarray:
    """Pictures (n, side, side, channels), each turned by its index into schemas.duplicate.ORIENTATIONS."""
    result = pictures.copy()
    for orientation in np.unique(orientations[orientations > 0]):
        here = orientations == orientation
        part = pictures[here]
        if orientation in (1, 3, 5, 6):
            part = part[:, :, ::-1]
        if orientation in (2, 3, 6):
            part = part[:, ::-1]
        result[here] = part.swapaxes(1, 2) if orientation >= 4 else part
    return result


def _figure_and_detail(gray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The shares of pixels outside of the most frequent gray level, and of the three most frequent; uint8 (n, pixels)."""
    n, pixels = gray.shape
    codes = gray.astype(np.int64) + 256 * np.arange(n)[:, None]
    left = np.bincount(codes.reshape(-1), minlength=256 * n).reshape(n, 256)
    every = np.arange(256)
    low, high = (every - LEVEL).clip(0), (every + LEVEL + 1).clip(None, 256)
    shares = []
    for _ in range(3):
        sums = np.pad(left.cumsum(axis=1), ((0, 0), (1, 0)))
        most = (sums[:, high] - sums[:, low]).argmax(axis=1)
        left[np.abs(every - most[:, None]) <= LEVEL] = 0
        shares.append(left.sum(axis=1) / pixels)
    return shares[0], shares[2]


def _colors_agree(one: np.ndarray, other: np.ndarray, most: np.ndarray) -> np.ndarray:
    contrast = sum(_rms(colors - colors.mean(axis=1, keepdims=True)) for colors in (one, other))
    return _rms(one - other) <= np.maximum(most, MOST_COLOR_SHARE * contrast)


def _rms(values: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.sqrt((values * values).mean(axis=tuple(range(1, values.ndim))))
    return result


def _correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Correlation of the gray levels of each pair, float64 (pairs,); 0 where a picture is flat."""
    one, other = (gray - gray.mean(axis=1, keepdims=True) for gray in (one, other))
    scale = np.sqrt((one * one).sum(axis=1) * (other * other).sum(axis=1))
    return np.divide((one * other).sum(axis=1), scale, out=np.zeros(len(scale)), where=scale > 0)
