"""Exact search for near hashes: all pairs of distinct 64-bit hashes within a radius, by multi-index hashing.

For each of the `bit_masks` the hashes are sorted by the bits that it keeps, and every two that agree on these bits are
compared. A pair is returned only for the first mask on which it agrees, so masks can be searched separately, and their
results are disjoint.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from pipeline.dedupe.bit_masks import bit_masks

HASHES_PER_STEP = 1 << 16  # 512 KiB, which fits into the cache of a core
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd; the top half of a product with it depends on all bits
_TOP, _HALF = np.uint64(0xFFFFFFFF00000000), np.uint64(32)


@dataclass(frozen=True)
class HashPairs:
    """Pairs of hash values, u < v, uint64 (pairs,) each, and the number of comparisons of the search."""

    u: np.ndarray
    v: np.ndarray
    comparisons: int

    @classmethod
    def join(cls, parts: Sequence["HashPairs"]) -> "HashPairs":
        """Concatenate the results of several searches, in the order of (u, v)."""
        none = np.empty(0, np.uint64)
        u = np.concatenate([none, *(part.u for part in parts)])
        v = np.concatenate([none, *(part.v for part in parts)])
        order = np.lexsort((v, u))
        return cls(u[order], v[order], sum(part.comparisons for part in parts))


def near_pairs(hashes: np.ndarray, radius: int, threads: int | None = None) -> HashPairs:
    """Return all pairs of distinct hashes that differ in at most `radius` bits (0 to 11).

    hashes: uint64 (n,), n < 2³², without repeats. threads: None means one per core; each takes about 50 bytes per hash.
    """
    masks = bit_masks(radius)
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        return HashPairs.join(
            list(pool.map(lambda i: near_pairs_on_mask(hashes, radius, masks, i), range(len(masks))))
        )


def near_pairs_on_mask(hashes: np.ndarray, radius: int, masks: np.ndarray, index: int) -> HashPairs:
    """Return the near pairs that agree on one mask and on none of the masks before it."""
    assert len(hashes) < 1 << 32
    # Sort numbers that pack (kept bits, hashed to 32 bits; index): NumPy sorts them with SIMD instructions, and there is
    # no separate index array. Collisions of the hashed bits only cost comparisons.
    packed = hashes & masks[index]
    packed *= _SPREAD
    packed &= _TOP
    packed |= np.arange(len(hashes), dtype=np.uint64)
    packed.sort()
    indices = packed.astype(np.uint32)
    key = (packed >> _HALF).astype(np.uint32)
    del packed
    starts = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1]))) if len(key) else np.empty(0, int)
    sizes = np.diff(starts, append=len(key))
    starts, sizes = starts[sizes > 1], sizes[sizes > 1]
    # Groups of equal size are compared together: they are the columns of a table, whose rows are shifted against each other.
    order = np.argsort(sizes, kind="stable")
    starts, sizes = starts[order], sizes[order]
    ends = np.flatnonzero(np.diff(sizes, append=0)) + 1
    first, second = [np.empty(0, np.uint32)], [np.empty(0, np.uint32)]
    comparisons, begin = 0, 0
    for end in ends.tolist():
        size = int(sizes[begin])
        comparisons += (end - begin) * (size * (size - 1) // 2)
        columns = max(1, HASHES_PER_STEP // size)
        for left in range(begin, end, columns):
            table = indices[starts[left : min(left + columns, end)] + np.arange(size)[:, None]]
            values = hashes[table]
            for shift in range(1, size):
                differing = np.bitwise_count(values[shift:] ^ values[:-shift]).reshape(-1)
                if differing.min() <= radius:
                    cells = np.flatnonzero(differing <= radius)
                    first.append(table[:-shift].reshape(-1)[cells])
                    second.append(table[shift:].reshape(-1)[cells])
        begin = end
    a, b = hashes[np.concatenate(first)], hashes[np.concatenate(second)]
    for mask in masks[:index]:
        new = (a ^ b) & mask != 0
        a, b = a[new], b[new]
    return HashPairs(np.minimum(a, b), np.maximum(a, b), comparisons)


def distinct_hashes(column: np.ndarray) -> tuple[np.ndarray, HashPairs]:
    """Return the distinct hashes of a column, and (u, u) for each hash that occurs more than once."""
    hashes, counts = np.unique(column, return_counts=True)
    repeated = hashes[counts > 1]
    return hashes, HashPairs(repeated, repeated, 0)
