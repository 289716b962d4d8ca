"""The share of a class among the nearest labeled images: exact search by cosine, in tiles of bounded memory."""

from collections.abc import Iterable, Iterator

import numpy as np

_TILE_ROWS = 1024


def neighbor_labels(
    blocks: Iterable[np.ndarray],
    groups: np.ndarray,
    references: np.ndarray,
    reference_labels: np.ndarray,
    reference_groups: np.ndarray,
    neighbors: int,
) -> Iterator[np.ndarray]:
    """Yield the labels of the nearest references of all images, int32 (rows, k), tile by tile, nearest set, in no order.

    blocks: features (rows, d) on the grid (`exact.py`), of n images; references: (r, d) likewise. groups: int (n,) and
    reference_groups: int (r,); an image is not compared with references of its own group (itself and its near-duplicates).
    k is `neighbors`, or r if that is less; an image with fewer references outside of its group gets labels -1. Equal
    similarities are decided by the order of the references. n·r·d multiplications; memory is a few tiles of 1,024 × r.
    """
    count, first = min(neighbors, len(references)), 0
    ranks = np.arange(len(references), dtype=np.int64)
    for block in blocks:
        for start in range(0, len(block), _TILE_ROWS):
            tile = block[start : start + _TILE_ROWS]
            # Similarities are multiples of 2⁻²⁴ within ±1: as integers with the rank they are unique.
            keys = (tile @ references.T * 2**24).astype(np.int64) * (len(references) + 1) - ranks
            same = groups[first : first + len(tile), None] == reference_groups
            keys[same] = np.iinfo(np.int64).min
            first += len(tile)
            nearest = np.argpartition(~keys, count - 1, axis=1)[:, :count]
            labels = reference_labels[nearest].astype(np.int32)
            labels[np.take_along_axis(same, nearest, axis=1)] = -1
            yield labels


def class_share(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the share of class `classes` (n,) among the labels (n, k) of nearest images, float64 (n,); NaN without any."""
    valid = (labels >= 0).sum(axis=1)
    hits = (labels == classes[:, None]).sum(axis=1)
    return np.where(valid > 0, hits / np.maximum(valid, 1), np.nan)
