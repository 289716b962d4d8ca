"""The search of `neighbors` cut into shares, none of which needs all hashes: for more of them than memory holds.

For each mask a hash has one bucket, by the bits that the mask keeps, so near hashes meet in a bucket of some mask. A
bucket that is too large is cut into blocks, and every two of its blocks are a share.
"""

from collections.abc import Iterator

import numpy as np

from pipeline.dedupe.bit_masks import bit_masks
from pipeline.dedupe.neighbors import HashPairs, near_pairs_on_mask

BucketPart = tuple[
    int, int, int, int, int
]  # mask, bucket, its number of blocks, and the two blocks (0 and 0 of one)

_SPREAD = np.uint64(
    0xD6E8FEB86659FD93
)  # not that of `near_pairs_on_mask`, which would then find all keys of a bucket alike


def bucket_of(hashes: np.ndarray, buckets: int) -> np.ndarray:
    """The bucket of each hash, int64 (n,): the top bits of a product, which depend on all bits."""
    return ((hashes * _SPREAD >> np.uint64(32)) * np.uint64(buckets) >> np.uint64(32)).astype(np.int64)


def bucket_sizes(hashes: np.ndarray, radius: int, buckets: int) -> np.ndarray:
    """How many hashes go to each bucket, int64 (masks, buckets)."""
    masks = bit_masks(radius)
    return np.stack([np.bincount(bucket_of(hashes & mask, buckets), minlength=buckets) for mask in masks])


def cut(
    hashes: np.ndarray, radius: int, sizes: np.ndarray, most: int
) -> Iterator[tuple[BucketPart, np.ndarray]]:
    """The hashes of each share, where `sizes` is the sum of `bucket_sizes` and a share has about `most` hashes."""
    blocks = np.maximum(1, -(-sizes // (most // 2 or 1)))
    blocks[sizes <= most] = 1
    for index, mask in enumerate(bit_masks(radius)):
        own = bucket_of(hashes & mask, sizes.shape[1])
        order = np.argsort(own, kind="stable")
        for part in np.split(order, np.flatnonzero(np.diff(own[order])) + 1) if len(order) else []:
            bucket = int(own[part[0]])
            count = int(blocks[index, bucket])
            if count == 1:
                yield (index, bucket, 1, 0, 0), hashes[part]
                continue
            block = bucket_of(hashes[part], count)
            for i in range(count):
                for j in range(i + 1, count):
                    both = part[(block == i) | (block == j)]
                    if len(both):
                        yield (index, bucket, count, i, j), hashes[both]


def near_in_part(hashes: np.ndarray, radius: int, share: BucketPart) -> HashPairs:
    """The near pairs of one share; over all shares every pair comes once."""
    index, _, count, i, j = share
    found = near_pairs_on_mask(hashes, radius, bit_masks(radius), index)
    if count == 1:
        return found
    # A block meets all others: what is near within it comes from its first meeting.
    u, v = bucket_of(found.u, count), bucket_of(found.v, count)
    here = (u != v) | (i == 0) & ((u == j) | (j == 1))
    return HashPairs(found.u[here], found.v[here], found.comparisons)
