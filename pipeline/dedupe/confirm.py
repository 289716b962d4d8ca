"""Confirm pairs of near 64-bit hashes by the 256-bit hashes and a predicate on the images."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

from pipeline.dedupe.neighbors import HashPairs
from pipeline.dedupe.thumbnail_check import PairPredicate

PAIRS_PER_BATCH = 1 << 20  # bounds the memory, however many images share one hash


@dataclass(frozen=True)
class DuplicatePairs:
    """Near-duplicates: row indices `a` < `b`, int64 (pairs,), and the numbers of differing bits of their hashes."""

    a: np.ndarray
    b: np.ndarray
    distance: np.ndarray
    distance_256: np.ndarray
    orientation: np.ndarray  # index into schemas.duplicate.ORIENTATIONS

    def __getitem__(self, rows: np.ndarray) -> "DuplicatePairs":
        return DuplicatePairs(*(getattr(self, field.name)[rows] for field in fields(self)))

    def __len__(self) -> int:
        return len(self.a)


def confirm_pairs(
    short: np.ndarray,
    long: np.ndarray,
    near: HashPairs,
    radius: int,
    agree: PairPredicate,
    is_test: np.ndarray | None = None,
) -> tuple[DuplicatePairs, int]:
    """Return the pairs of rows that differ in at most `radius` of 256 bits and satisfy `agree`, and how many were compared.

    short: uint64 (n,), the 64-bit hashes. long: uint8 (n, 32), the 256-bit hashes. near: pairs of near 64-bit hashes; a
    pair (u, u) stands for all rows with this hash. is_test: bool (n,); if given, only pairs of a test row and another row
    are compared. The pairs are in the order of (a, b).
    """
    words = np.ascontiguousarray(long).view(np.uint64)
    parts, compared = [np.empty((0, 5), np.int64)], 0
    for a, b in _pairs_of_rows(short, near):
        if is_test is not None:
            is_leak = is_test[a] != is_test[b]
            a, b = a[is_leak], b[is_leak]
        compared += len(a)
        distance = np.bitwise_count(words[a] ^ words[b]).sum(axis=1, dtype=np.int64)
        is_near = distance <= radius
        a, b, distance = a[is_near], b[is_near], distance[is_near]
        agrees = agree(a, b)
        a, b, distance = a[agrees], b[agrees], distance[agrees]
        bits = np.bitwise_count(short[a] ^ short[b])
        parts.append(np.stack([np.minimum(a, b), np.maximum(a, b), bits, distance, 0 * a], axis=1))
    pairs = np.concatenate(parts)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    return DuplicatePairs(*pairs.T), compared


def _pairs_of_rows(short: np.ndarray, near: HashPairs) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the pairs of rows with the hashes of `near`, in batches."""
    order = np.argsort(short, kind="stable")
    values = short[order]
    first, second = (np.searchsorted(values, side, "left") for side in (near.u, near.v))
    rows, columns = (
        np.searchsorted(values, side, "right") - start for side, start in ((near.u, first), (near.v, second))
    )
    ends = np.cumsum(rows * columns)
    for start in range(0, int(ends[-1]) if len(ends) else 0, PAIRS_PER_BATCH):
        number = np.arange(start, min(start + PAIRS_PER_BATCH, int(ends[-1])))
        pair = np.searchsorted(ends, number, "right")
        number -= (ends - rows * columns)[pair]
        i = first[pair] + number // columns[pair]
        j = second[pair] + number % columns[pair]
        is_ordered = i < j  # for (u, u): every two rows once; for other pairs u is sorted before v
        yield order[i[is_ordered]], order[j[is_ordered]]
