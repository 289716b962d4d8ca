"""Hashes of mirrored and rotated images, computed from the hashes in the image table.

Mirroring changes the signs of the odd frequencies, transposing transposes the frequencies. So copies in any orientation
are found among the hashes of all orientations, without decoding an image.
"""

import numpy as np

from pipeline.dedupe.confirm import DuplicatePairs, confirm_pairs
from pipeline.dedupe.neighbors import HashPairs
from pipeline.dedupe.thumbnail_check import ThumbnailCheck
from schemas.duplicate import ORIENTATIONS

_ODD = np.arange(16) % 2 == 1


def oriented_hashes(short: np.ndarray, mirrored: np.ndarray, count: int = len(ORIENTATIONS)) -> np.ndarray:
    """Return the 64-bit hashes of images in the first `count` of ORIENTATIONS, uint64 (n, count).

    short: uint64 (n,), column phash. mirrored: uint64 (n, 3), column phash_orientations. One of the two rotations by 90°
    is enough: if a copy is the image rotated to the left, the image is the copy rotated to the right.
    """
    upright = np.column_stack([short, mirrored])
    if count <= upright.shape[1]:
        return upright[:, :count]
    bits = np.unpackbits(upright.astype(">u8").view(np.uint8).reshape(-1, 4, 8), axis=2).reshape(-1, 4, 8, 8)
    packed = np.packbits(bits.swapaxes(2, 3).reshape(-1, 4, 64), axis=2)
    transposed = packed.view(">u8").astype(np.uint64).reshape(-1, 4)
    return np.column_stack([upright, transposed[:, [0, 1, 3]]])[:, :count]


def oriented_long_hashes(long: np.ndarray, count: int = len(ORIENTATIONS)) -> np.ndarray:
    """Return the 256-bit hashes in the first `count` of ORIENTATIONS, uint8 (n, count, 32) from (n, 32), as if their
    median were 0.

    The median is nearly 0; the approximation costs about 7 of the 256 bits, which the radius can spare.
    """
    bits = np.unpackbits(long, axis=1).reshape(-1, 16, 16)
    mirrored, flipped = bits ^ _ODD, bits ^ _ODD[:, None]
    upright = [bits, mirrored, flipped, mirrored ^ _ODD[:, None]]
    transposed = [upright[i].swapaxes(1, 2) for i in (0, 1, 3)]
    stacked = np.stack([*upright, *transposed][:count], axis=1)
    return np.packbits(stacked.reshape(-1, count, 256), axis=2)


def confirm_oriented(
    short: np.ndarray,
    mirrored: np.ndarray,
    long: np.ndarray,
    near: HashPairs,
    radius: int,
    thumbnails: ThumbnailCheck,
    count: int = len(ORIENTATIONS),
    is_test: np.ndarray | None = None,
) -> tuple[DuplicatePairs, int]:
    """Confirm pairs as `confirm_pairs` does, with one image of a pair in any orientation; the nearest one counts.

    mirrored: uint64 (n, 3), column phash_orientations. near: pairs among the hashes in the first `count` orientations.
    """
    if count == 1:
        return confirm_pairs(short, long, near, radius, thumbnails.agree, is_test)
    hashes = oriented_hashes(short, mirrored, count).reshape(-1)

    def agree(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        (image_a, orientation_a), (image_b, orientation_b) = (divmod(rows, count) for rows in (a, b))
        return thumbnails.agree_oriented(image_a, image_b, orientation_a, orientation_b)

    oriented_long = oriented_long_hashes(long, count).reshape(-1, 32)
    is_test = None if is_test is None else is_test.repeat(count)
    confirmed, compared = confirm_pairs(hashes, oriented_long, near, radius, agree, is_test)
    (a, orientation_a), (b, orientation_b) = (divmod(rows, count) for rows in (confirmed.a, confirmed.b))
    pairs = DuplicatePairs(
        np.minimum(a, b),
        np.maximum(a, b),
        confirmed.distance,
        confirmed.distance_256,
        np.maximum(orientation_a, orientation_b),
    )
    pairs = pairs[(a != b) & (np.minimum(orientation_a, orientation_b) == 0)]
    pairs = pairs[np.lexsort((pairs.orientation, pairs.distance, pairs.distance_256, pairs.b, pairs.a))]
    is_first = (np.diff(pairs.a, prepend=-1) != 0) | (np.diff(pairs.b, prepend=-1) != 0)
    return pairs[is_first], compared
