"""Perceptual hashes of pictures, many per NumPy call, and how much they say.

The hashes are those of `imagehash.phash` (the discrete cosine transform of a small grey picture against the median of
its low frequencies), which is the reference: https://github.com/JohannesBuchner/imagehash. Nearly all of their cost is
the shrinking to the small picture, so both are made from the same one, of 32×32.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from PIL import Image
from scipy import fftpack

SIDE = 32  # of the grey picture: 4 × the size of the 64-bit hash (imagehash's highfreq_factor), 2 × that of the other
SHORT, LONG = 8, 16  # low frequencies each way
SHARPNESS_ROWS = 64  # of the picture, about; all of them would cost as much as the hashes


@dataclass(frozen=True)
class Fingerprints:
    """What is known of n pictures by their looks.

    `short`: uint64 (n,), the 64-bit hash, first bit highest, so that hex(value) is the string of `imagehash.phash`.
    `long`: uint8 (n, 32), the 256-bit hash, which is `imagehash.phash` with hash_size 16 and highfreq_factor 2.
    `contrast`: float32 (n,), standard deviation of the grey levels (0 to 255) that the frequencies of the short
    hash make; where it is small, noise decides the bits. `sharpness`: float32 (n,), variance of the Laplacian.
    `turned`: uint64 (n, 3), the short hash of the picture mirrored, flipped, and turned by 180°: what is odd along an
    axis changes its sign. The transposed picture's hash is the transposed one, so these three give all turns.
    """

    short: np.ndarray
    long: np.ndarray
    turned: np.ndarray
    contrast: np.ndarray
    sharpness: np.ndarray

    @classmethod
    def join(cls, parts: Sequence["Fingerprints"]) -> "Fingerprints":
        """The fingerprints of several batches."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))

    def columns(self, index: int) -> dict[str, Any]:
        """The columns of the image table for one of the pictures."""
        return {
            "phash": int(self.short[index]),
            "phash_turned": self.turned[index].tolist(),
            "phash_256": self.long[index].tobytes(),
            "contrast": float(self.contrast[index]),
            "sharpness": float(self.sharpness[index]),
        }


def fingerprint(pictures: Sequence[Image.Image]) -> Fingerprints:
    """Fingerprint pictures of any size and mode."""
    small = np.empty((len(pictures), SIDE, SIDE), np.uint8)
    sharpness = np.empty(len(pictures), np.float32)
    for i, picture in enumerate(pictures):
        grey = picture.convert("L")
        small[i] = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
        sharpness[i] = _sharpness(np.asarray(grey))
    # The same transform in the same order of axes as the reference: the bits come out identical, ties included.
    low = fftpack.dct(fftpack.dct(small, axis=1)[:, :LONG], axis=2)[:, :, :LONG]
    lowest = low[:, :SHORT, :SHORT]
    odd = (-1.0) ** np.arange(SHORT)
    turned = [_number(lowest * sign) for sign in (odd, odd[:, None], odd * odd[:, None])]
    return Fingerprints(_number(lowest), _packed(low), np.stack(turned, axis=1), _contrast(lowest), sharpness)


def _number(lowest: np.ndarray) -> np.ndarray:
    return _packed(lowest).view(">u8").astype(np.uint64).reshape(-1)


def _packed(low: np.ndarray) -> np.ndarray:
    """Bits of (n, size, size) coefficients as bytes, row by row, first bit highest."""
    flat = low.reshape(len(low), low.shape[1] * low.shape[2])
    return np.packbits(flat > np.median(flat, axis=1, keepdims=True), axis=1)


def _contrast(lowest: np.ndarray) -> np.ndarray:
    """By Parseval: the energy of all coefficients but the first. Rounded, so that no platform's last bit decides."""
    scale = np.full(SHORT, (2 * SIDE) ** -0.5)
    scale[0] /= np.sqrt(2)
    energy = (lowest * np.outer(scale, scale)) ** 2
    without_mean = energy.sum(axis=(1, 2)) - energy[:, 0, 0]
    return np.round(np.sqrt(np.maximum(without_mean, 0)) / SIDE, 3).astype(np.float32)


def _sharpness(grey: np.ndarray) -> float:
    """Variance of the four-neighbour Laplacian of a uint8 picture, over evenly spaced rows; 0 below 3×3 pixels."""
    height, width = grey.shape
    if min(height, width) < 3:
        return 0.0
    step = max(1, (height - 2) // SHARPNESS_ROWS)
    above, here, below = (grey[i : height - 2 + i : step].astype(np.int32) for i in range(3))
    laplacian = 4 * here[:, 1:-1] - here[:, :-2] - here[:, 2:] - above[:, 1:-1] - below[:, 1:-1]
    # In whole numbers, so that it is the same on every machine.
    count, total, squares = laplacian.size, int(laplacian.sum()), int((laplacian * laplacian).sum())
    return (squares - total * total / count) / count
