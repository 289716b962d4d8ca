"""Hashes of mirrored and turned pictures, from the hashes in the image table.

A mirror image has the same frequencies but for the signs of the odd ones, a transposed picture has them transposed.
So a pair of turned copies is found among the hashes of all orientations, without opening a picture.
"""

import numpy as np

from pipeline.dedupe.confirm import DuplicatePairs, confirm_pairs
from pipeline.dedupe.neighbors import HashPairs
from pipeline.dedupe.thumbnail_check import ThumbnailCheck
from schemas.duplicate import ORIENTATIONS

_ODD = np.arange(16) % 2 == 1


def oriented_hashes(short: np.ndarray, turned: np.ndarray) -> np.ndarray:
    """The 64-bit hashes of the picture in all ORIENTATIONS: uint64 (n, 7), from (n,) and the table's phash_orientations (n, 3).

    Of the two orientations by 90° one is enough: a copy turned to the left is a picture whose copy is turned to the right.
    """
    upright = np.column_stack([short, turned])
    bits = np.unpackbits(upright.astype(">u8").view(np.uint8).reshape(-1, 4, 8), axis=2).reshape(-1, 4, 8, 8)
    flat = np.packbits(bits.swapaxes(2, 3).reshape(-1, 4, 64), axis=2)
    across = flat.view(">u8").astype(np.uint64).reshape(-1, 4)
    return np.column_stack([upright, across[:, [0, 1, 3]]])


def oriented_long_hashes(long: np.ndarray) -> np.ndarray:
    """The 256-bit hashes in all ORIENTATIONS, uint8 (n, 7, 32) from (n, 32), as if their median were 0.

    It is nearly: this costs some 7 of the 256 bits, which the radius has to spare.
    """
    bits = np.unpackbits(long, axis=1).reshape(-1, 16, 16)
    mirrored, flipped = bits ^ _ODD, bits ^ _ODD[:, None]
    upright = [bits, mirrored, flipped, mirrored ^ _ODD[:, None]]
    across = [upright[i].swapaxes(1, 2) for i in (0, 1, 3)]
    stacked = np.stack([*upright, *across], axis=1)
    assert stacked.shape[1] == len(ORIENTATIONS)
    return np.packbits(stacked.reshape(-1, len(ORIENTATIONS), 256), axis=2)


def confirm_oriented(
    short: np.ndarray,
    turned: np.ndarray,
    long: np.ndarray,
    near: HashPairs,
    radius: int,
    thumbnails: ThumbnailCheck,
) -> tuple[DuplicatePairs, int]:
    """As `confirm`, with one picture of a pair in any orientation; of several orientations the nearest counts.

    turned: uint64 (n, 3), the table's phash_orientations; `near` is of the hashes in all orientations.
    """
    every = oriented_hashes(short, turned).reshape(-1)

    def agree(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        (image_a, orientation_a), (image_b, orientation_b) = (
            divmod(a, len(ORIENTATIONS)),
            divmod(b, len(ORIENTATIONS)),
        )
        return thumbnails.agree_oriented(image_a, image_b, orientation_a, orientation_b)

    found, compared = confirm_pairs(every, oriented_long_hashes(long).reshape(-1, 32), near, radius, agree)
    a, b = found.a // len(ORIENTATIONS), found.b // len(ORIENTATIONS)
    orientations = found.a % len(ORIENTATIONS), found.b % len(ORIENTATIONS)
    useful = (a != b) & (np.minimum(*orientations) == 0)
    pairs = DuplicatePairs(
        np.minimum(a, b), np.maximum(a, b), found.distance, found.distance_256, np.maximum(*orientations)
    )
    pairs = pairs[useful]
    pairs = pairs[np.lexsort((pairs.orientation, pairs.distance, pairs.distance_256, pairs.b, pairs.a))]
    first = (np.diff(pairs.a, prepend=-1) != 0) | (np.diff(pairs.b, prepend=-1) != 0)
    return pairs[first], compared
