"""Masks for multi-index hashing: two hashes within the radius agree on all bits of at least one mask.

The 64 bits are dealt to three bands. If r bits differ, the bands cannot all have more than their share of them
(pigeonhole). Within a band, a covering design (v points; blocks of which one holds any t points) gives the masks: each
keeps the bits outside of one block, so wherever at most t bits differ, some mask keeps none of them. The usual way is
to drop every choice of r of m parts, which is the trivial design; good designs have fewer masks that keep as many
bits: for r = 8, 63 masks of 16 bits, where m = 11 needs 165 of 17.

Multi-index hashing: Norouzi, Punjani and Fleet, CVPR 2012. Designs: La Jolla covering repository.
"""

from functools import cache

import numpy as np

BITS, BANDS = 64, 3
MAX_RADIUS = 11

# t → (v, base blocks): all shifts modulo v of the base blocks hold every t of the v points.
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
    """The masks for all pairs of 64-bit hashes within `radius` (0 to 11), as uint64 (masks,)."""
    assert 0 <= radius <= MAX_RADIUS
    spare = max(0, radius + 1 - BANDS)  # the bands' shares t, each + 1, add up to radius + 1
    masks = []
    for band in range(BANDS):
        points, blocks = DESIGNS[(spare + band) // BANDS]
        for block in blocks:
            for shift in range(points):
                dropped = {(point + shift) % points for point in block}
                kept = [i for i in range(band, BITS, BANDS) if i // BANDS % points not in dropped]
                masks.append(sum(1 << i for i in kept))
    found = np.array(masks, np.uint64)
    found.flags.writeable = False  # it is handed out again
    return found
