"""The search of `neighbors` in parts that each need a few hashes only, for more hashes than memory holds.

For each mask a hash has one bucket, by the bits that the mask keeps, so near hashes meet in a bucket of some mask. A
bucket that is too large is cut into blocks, and every two of its blocks form a part.
"""

from collections.abc import Iterator

import numpy as np

from pipeline.dedupe.bit_masks import bit_masks
from pipeline.dedupe.neighbors import HashPairs, near_pairs_on_mask

# Not the factor of `near_pairs_on_mask`: with the same one, all keys of a bucket would be alike there.
_SPREAD = np.uint64(0xD6E8FEB86659FD93)


# Mask, bucket, its number of blocks, and two block numbers (0 and 0 for a bucket of one block): a plain tuple, since Beam
# groups by it.
BucketPart = tuple[int, int, int, int, int]


def bucket_of(hashes: np.ndarray, buckets: int) -> np.ndarray:
    """Return the bucket of each hash, int64 (n,): the top bits of a product, which depend on all bits."""
    return ((hashes * _SPREAD >> np.uint64(32)) * np.uint64(buckets) >> np.uint64(32)).astype(np.int64)


def bucket_sizes(hashes: np.ndarray, radius: int, buckets: int) -> np.ndarray:
    """Return the number of hashes in each bucket, int64 (masks, buckets)."""
    masks = bit_masks(radius)
    return np.stack([np.bincount(bucket_of(hashes & mask, buckets), minlength=buckets) for mask in masks])


def cut_into_parts(
    hashes: np.ndarray, radius: int, sizes: np.ndarray, max_hashes: int
) -> Iterator[tuple[BucketPart, np.ndarray]]:
    """Yield the hashes of each part; `sizes` is the sum of `bucket_sizes`, a part has about `max_hashes` hashes."""
    block_counts = np.maximum(1, -(-sizes // (max_hashes // 2 or 1)))
    block_counts[sizes <= max_hashes] = 1
    for index, mask in enumerate(bit_masks(radius)):
        buckets = bucket_of(hashes & mask, sizes.shape[1])
        order = np.argsort(buckets, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(buckets[order])) + 1) if len(order) else []:
            bucket = int(buckets[rows[0]])
            blocks = int(block_counts[index, bucket])
            if blocks == 1:
                yield (index, bucket, 1, 0, 0), hashes[rows]
                continue
            block = bucket_of(hashes[rows], blocks)
            for i in range(blocks):
                for j in range(i + 1, blocks):
                    both = rows[(block == i) | (block == j)]
                    if len(both):
                        yield (index, bucket, blocks, i, j), hashes[both]


def near_in_part(hashes: np.ndarray, radius: int, part: BucketPart) -> HashPairs:
    """Return the near pairs of one part; over all parts, every pair is returned once."""
    mask, _, blocks, i, j = part
    pairs = near_pairs_on_mask(hashes, radius, bit_masks(radius), mask)
    if blocks == 1:
        return pairs
    # A block occurs in several parts; pairs within a block belong to the first of them.
    u, v = bucket_of(pairs.u, blocks), bucket_of(pairs.v, blocks)
    belongs = (u != v) | (i == 0) & ((u == j) | (j == 1))
    return HashPairs(pairs.u[belongs], pairs.v[belongs], pairs.comparisons)
