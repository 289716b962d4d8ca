"""Confirmation: of the images whose 64-bit hashes are near, those whose 256-bit hashes are near as well,
and whose small pictures agree."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

from pipeline.dedupe.neighbors import HashPairs
from pipeline.dedupe.thumbnail_check import PairPredicate

AT_ONCE = 1 << 20  # pairs held at once: however many images share one hash, memory stays bounded


@dataclass(frozen=True)
class DuplicatePairs:
    """HashPairs-duplicates: positions `a` < `b`, int64 (pairs,), and in how many bits their hashes differ."""

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
    short: np.ndarray, long: np.ndarray, near: HashPairs, radius: int, agree: PairPredicate
) -> tuple[DuplicatePairs, int]:
    """Find the rows that `near` speaks of, and keep the pairs that differ in at most `radius` of 256 bits and agree.

    short: uint64 (n,); long: uint8 (n, 32); a pair (u, u) of `near` stands for all rows with this hash; agree: tells of
    pairs of rows whether what is seen beside the hashes agrees. Returns (pairs in the order of (a, b), number of pairs
    that were compared).
    """
    words = np.ascontiguousarray(long).view(np.uint64)
    parts, compared = [np.empty((0, 5), np.int64)], 0
    for a, b in _rows(short, near):
        compared += len(a)
        distance = np.bitwise_count(words[a] ^ words[b]).sum(axis=1, dtype=np.int64)
        sure = distance <= radius
        a, b, distance = a[sure], b[sure], distance[sure]
        same = agree(a, b)
        a, b, distance = a[same], b[same], distance[same]
        bits = np.bitwise_count(short[a] ^ short[b])
        parts.append(np.stack([np.minimum(a, b), np.maximum(a, b), bits, distance, 0 * a], axis=1))
    found = np.concatenate(parts)
    found = found[np.lexsort((found[:, 1], found[:, 0]))]
    return DuplicatePairs(*found.T), compared


def _rows(short: np.ndarray, near: HashPairs) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The pairs of rows behind pairs of values, a limited number at a time."""
    order = np.argsort(short, kind="stable")
    values = short[order]
    first, second = (np.searchsorted(values, side, "left") for side in (near.u, near.v))
    rows, columns = (
        np.searchsorted(values, side, "right") - start for side, start in ((near.u, first), (near.v, second))
    )
    ends = np.cumsum(rows * columns)
    for start in range(0, int(ends[-1]) if len(ends) else 0, AT_ONCE):
        number = np.arange(start, min(start + AT_ONCE, int(ends[-1])))
        pair = np.searchsorted(ends, number, "right")
        number -= (ends - rows * columns)[pair]
        i = first[pair] + number // columns[pair]
        j = second[pair] + number % columns[pair]
        once = i < j  # of (u, u) each two rows once; of other pairs u comes before v
        yield order[i[once]], order[j[once]]
