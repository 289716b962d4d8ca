"""The nearest labeled images by cosine: exact search, in tiles of bounded memory."""

import numpy as np

TILE_ROWS = 1024


def nearest_labels(
    tile: np.ndarray,
    groups: np.ndarray,
    references: np.ndarray,
    reference_labels: np.ndarray,
    reference_groups: np.ndarray,
    neighbors: int,
) -> np.ndarray:
    """Return the labels of the nearest references of each image of a tile, int32 (rows, k), in no order.

    tile: features (rows, d) on the grid (`exact.py`); references: (r, d) likewise. groups: int (rows,) and
    reference_groups: int (r,); an image is not compared with references of its own group (itself and its near-duplicates),
    and gets the label -1 where the others are fewer than k. k is `neighbors`, or r if that is less. Equal similarities are
    decided by the order of the references. Memory: 40 bytes per row and reference.
    """
    count, total = min(neighbors, len(references)), len(references)
    # Similarities are multiples of 2⁻²⁴ within ±1: as integers that contain the rank of the reference they are unique.
    keys = (tile @ references.T * 2**24).astype(np.int64) * (total + 1) - np.arange(total)
    same = groups[:, None] == reference_groups
    keys[same] = np.iinfo(np.int64).min
    nearest = np.argpartition(~keys, count - 1, axis=1)[:, :count]
    labels = reference_labels[nearest].astype(np.int32)
    labels[np.take_along_axis(same, nearest, axis=1)] = -1
    return labels


def class_share(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the share of class `classes` (n,) among the labels (n, k) of nearest images, float64 (n,); NaN without any."""
    valid = (labels >= 0).sum(axis=1)
    hits = (labels == classes[:, None]).sum(axis=1)
    return np.where(valid > 0, hits / np.maximum(valid, 1), np.nan)
