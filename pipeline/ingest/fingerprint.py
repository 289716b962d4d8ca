"""Perceptual hashes of pictures, many per NumPy call.

The value is that of `imagehash.phash` (the discrete cosine transform of a small grey picture against the
median of its low frequencies), which is the reference: https://github.com/JohannesBuchner/imagehash.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy import fftpack

OVERSAMPLING = 4  # imagehash's highfreq_factor: the grey picture is 4 × hash size wide


def phash_bits(pictures: Sequence[Image.Image], size: int) -> np.ndarray:
    """Hash pictures to `size`² bits each.

    Returns bool (len(pictures), size²), row-major as `imagehash.phash(picture, hash_size=size).hash`.
    """
    side = size * OVERSAMPLING
    grey = np.empty((len(pictures), side, side), np.uint8)
    for i, picture in enumerate(pictures):
        grey[i] = np.asarray(picture.convert("L").resize((side, side), Image.Resampling.LANCZOS))
    # The same transform in the same order of axes as the reference: the bits come out identical, ties included.
    columns = fftpack.dct(grey, axis=1)[:, :size]
    low = fftpack.dct(columns, axis=2)[:, :, :size].reshape(len(pictures), size * size)
    return low > np.median(low, axis=1, keepdims=True)


def phash_64(pictures: Sequence[Image.Image]) -> np.ndarray:
    """The 64-bit hash as uint64 (n,), first bit highest, so that hex(value) is imagehash's string."""
    return np.packbits(phash_bits(pictures, 8), axis=1).view(">u8").astype(np.uint64).reshape(-1)


def phash_256(pictures: Sequence[Image.Image]) -> np.ndarray:
    """The 256-bit hash as uint8 (n, 32), first bit highest, which confirms what the short one finds."""
    return np.packbits(phash_bits(pictures, 16), axis=1)
