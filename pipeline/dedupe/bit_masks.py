"""Masks for multi-index hashing: two hashes within the radius agree on all bits of at least one mask.

The 64 bits are divided among three bands. If r bits differ, at least one band has no more than its share of them
(pigeonhole). Within a band, a covering design (v points, and blocks such that any t points are in one block) gives the
masks: each keeps the bits outside of one block, so if at most t bits differ, some mask keeps none of them. The usual
method drops every choice of r of m parts, which is the trivial design; better designs have fewer masks that keep as many
bits: for r = 8, 63 masks of 16 bits, while m = 11 needs 165 masks of 17 bits.

Multi-index hashing: Norouzi, Punjani and Fleet, CVPR 2012. Designs: La Jolla covering repository.
"""

from functools import cache

import numpy as np

BITS, BANDS = 64, 3
MAX_RADIUS = 11

# t → (v, base blocks): any t of the v points are in one of the base blocks shifted modulo v.
DESIGNS: dict[int, tuple[int, tuple[tuple[int, ...], ...]]] = {
    0: (1, ((),)),
    1: (7, ((0,),)),
    2: (21, ((0, 1, 4, 14, 16),)),  # the projective plane of order 4
    3: (
        17,
        ((0, 1, 2, 6, 13), (0, 1, 3, 9, 15), (0, 1, 4, 7, 8), (0, 2, 4, 9, 12)),
    ),  # the inversive plane of order 4
}


@cache
def bit_masks(radius: int) -> np.ndarray:
    """Return the masks for all pairs of 64-bit hashes within `radius` (0 to 11), uint64 (masks,)."""
    assert 0 <= radius <= MAX_RADIUS
    spare = max(0, radius + 1 - BANDS)  # the values t + 1 of the bands add up to radius + 1
    masks = []
    for band in range(BANDS):
        points, blocks = DESIGNS[(spare + band) // BANDS]
        for block in blocks:
            for shift in range(points):
                dropped = {(point + shift) % points for point in block}
                kept = [i for i in range(band, BITS, BANDS) if i // BANDS % points not in dropped]
                masks.append(sum(1 << i for i in kept))
    result = np.array(masks, np.uint64)
    result.flags.writeable = False  # the cache returns the same array again
    return result
