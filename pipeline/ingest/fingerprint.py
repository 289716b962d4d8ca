"""Perceptual hashes of pictures, many per NumPy call, and how much they say.

The hashes are those of `imagehash.phash` (the discrete cosine transform of a small gray picture against the median of
its low frequencies), which is the reference: https://github.com/JohannesBuchner/imagehash. Nearly all of their cost is
the shrinking to the small picture, so both are made from the same one, of 32×32.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from PIL import Image
from scipy import fftpack

from pipeline.ingest.thumbnail import SIDE, THUMBNAIL_BYTES, Thumbnail, thumbnail

SHORT, LONG = 8, 16  # low frequencies each way


@dataclass(frozen=True)
class Fingerprints:
    """What is known of n pictures by their looks.

    `short`: uint64 (n,), the 64-bit hash, first bit highest, so that hex(value) is the string of `imagehash.phash`.
    `long`: uint8 (n, 32), the 256-bit hash, which is `imagehash.phash` with hash_size 16 and highfreq_factor 2.
    `contrast`: float32 (n,), standard deviation of the gray levels (0 to 255) that the frequencies of the short
    hash make; where it is small, noise decides the bits. `sharpness`: float32 (n,), variance of the Laplacian.
    `thumbnails`: uint8 (n, 1216), the small pictures in gray and in color of `Thumbnail.pixels`.
    `orientations`: uint64 (n, 3), the short hash of the picture mirrored, flipped, and turned by 180°: what is odd along an
    axis changes its sign. The transposed picture's hash is the transposed one, so these three give all turns.
    """

    short: np.ndarray
    long: np.ndarray
    orientations: np.ndarray
    contrast: np.ndarray
    sharpness: np.ndarray
    thumbnails: np.ndarray

    @classmethod
    def join(cls, parts: Sequence["Fingerprints"]) -> "Fingerprints":
        """The fingerprints of several batches."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))

    def columns(self, index: int) -> dict[str, Any]:
        """The columns of the image table for one of the pictures."""
        return {
            "phash": int(self.short[index]),
            "phash_orientations": self.orientations[index].tolist(),
            "phash_256": self.long[index].tobytes(),
            "contrast": float(self.contrast[index]),
            "sharpness": float(self.sharpness[index]),
            "thumbnail": self.thumbnails[index].tobytes(),
        }


def fingerprint(pictures: Sequence[Image.Image]) -> Fingerprints:
    """Fingerprint pictures of any size and mode."""
    return fingerprint_thumbnails([thumbnail(picture) for picture in pictures])


def fingerprint_thumbnails(thumbnails: Sequence[Thumbnail]) -> Fingerprints:
    """Fingerprint n pictures by their thumbnails: the same values as `fingerprint`, in a few NumPy calls for all."""
    pixels = np.frombuffer(b"".join(one.pixels for one in thumbnails), np.uint8).reshape(-1, THUMBNAIL_BYTES)
    small = pixels[:, : SIDE * SIDE].reshape(-1, SIDE, SIDE)
    sharpness = np.array([one.sharpness for one in thumbnails], np.float32)
    low = _transformed(small)
    lowest = low[:, :SHORT, :SHORT]
    odd = (-1.0) ** np.arange(SHORT)
    orientations = [_number(lowest * sign) for sign in (odd, odd[:, None], odd * odd[:, None])]
    return Fingerprints(
        _number(lowest), _packed(low), np.stack(orientations, axis=1), _contrast(lowest), sharpness, pixels
    )


def frequencies(gray: np.ndarray) -> np.ndarray:
    """The frequencies behind the short hash of small gray pictures (n, SIDE, SIDE), in gray levels: float64 (n, 8, 8).

    Each is the root mean square of what the frequency contributes to the picture; its mean comes first.
    """
    return _in_levels(_transformed(gray)[:, :SHORT, :SHORT])


def _transformed(small: np.ndarray) -> np.ndarray:
    """The lowest frequencies, (n, LONG, LONG); the same transform in the same order of axes as the reference, so that
    the bits come out identical, ties included."""
    low: np.ndarray = fftpack.dct(fftpack.dct(small, axis=1)[:, :LONG], axis=2)[:, :, :LONG]
    return low


def _in_levels(lowest: np.ndarray) -> np.ndarray:
    scale = np.full(SHORT, (2 * SIDE) ** -0.5)
    scale[0] /= np.sqrt(2)
    levels: np.ndarray = lowest * np.outer(scale, scale) / SIDE
    return levels


def _number(lowest: np.ndarray) -> np.ndarray:
    return _packed(lowest).view(">u8").astype(np.uint64).reshape(-1)


def _packed(low: np.ndarray) -> np.ndarray:
    """Bits of (n, size, size) coefficients as bytes, row by row, first bit highest."""
    flat = low.reshape(len(low), low.shape[1] * low.shape[2])
    return np.packbits(flat > np.median(flat, axis=1, keepdims=True), axis=1)


def _contrast(lowest: np.ndarray) -> np.ndarray:
    """By Parseval: the energy of all coefficients but the first. Rounded, so that no platform's last bit decides."""
    energy = _in_levels(lowest) ** 2
    without_mean = energy.sum(axis=(1, 2)) - energy[:, 0, 0]
    return np.round(np.sqrt(np.maximum(without_mean, 0)), 3).astype(np.float32)
