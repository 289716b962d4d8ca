"""Exact search for near-duplicates: all pairs of hashes within a radius, and their confirmation by longer hashes.

Tiles of the whole comparison, counted with `bitwise_count`: complete by construction, and up to some hundreds of
thousands of hashes as fast as an index.
"""

from dataclasses import dataclass

import numpy as np

TILE_ROWS, TILE_COLUMNS = 16, 8192  # 1 MiB of differences at once, which stays in a core's cache


@dataclass(frozen=True)
class Pairs:
    """Near-duplicate pairs: positions `a` < `b` in the table of images, and in how many bits they differ."""

    a: np.ndarray
    b: np.ndarray
    distance: np.ndarray
    distance_256: np.ndarray

    @classmethod
    def concatenate(cls, parts: list["Pairs"]) -> "Pairs":
        """Join the pairs of several searches, in the order of (a, b)."""
        columns = [
            np.concatenate([getattr(part, name) for part in parts]) if parts else np.empty(0, np.int64)
            for name in ("a", "b", "distance", "distance_256")
        ]
        order = np.lexsort((columns[1], columns[0]))
        return cls(*(column[order] for column in columns))

    def __len__(self) -> int:
        return len(self.a)


def search(
    short: np.ndarray,
    long: np.ndarray,
    radius: int,
    confirm_radius: int,
    start: int = 0,
    stop: int | None = None,
) -> tuple[Pairs, int]:
    """All pairs (a, b), start ≤ a < stop, a < b, that are within both radii.

    `short` is uint64 (n,), `long` uint8 (n, 32). Returns (pairs, number within the first radius alone).
    """
    n = len(short)
    stop = n if stop is None else min(stop, n)
    rows, columns = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    differing = np.empty((TILE_ROWS, TILE_COLUMNS), np.uint64)
    bits = np.empty((TILE_ROWS, TILE_COLUMNS), np.uint8)
    for top in range(start, stop, TILE_ROWS):
        block = short[top : min(top + TILE_ROWS, stop), None]
        for left in range(top, n, TILE_COLUMNS):
            others = short[None, left : left + TILE_COLUMNS]
            corner = (slice(len(block)), slice(others.shape[1]))
            np.bitwise_xor(block, others, out=differing[corner])
            tile = np.bitwise_count(differing[corner], out=bits[corner])
            if tile.min() > radius:
                continue  # nearly always
            i, j = np.nonzero(tile <= radius)
            later = j + left > i + top
            rows.append(i[later] + top)
            columns.append(j[later] + left)
    a, b = np.concatenate(rows), np.concatenate(columns)
    words = long.view(np.uint64)
    distance_256 = np.bitwise_count(words[a] ^ words[b]).sum(axis=1, dtype=np.int64)
    sure = distance_256 <= confirm_radius
    found = Pairs(
        a[sure], b[sure], np.bitwise_count(short[a] ^ short[b])[sure].astype(np.int64), distance_256[sure]
    )
    return found, len(a)
