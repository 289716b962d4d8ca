"""The nearest labeled images by cosine: exact search, in tiles of bounded memory."""

import numpy as np

TILE_ROWS = 1024
_EXCLUDED = -2.0  # below every cosine


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
    decided by the order of the references. Similarities are exact, and so is the result; memory is 10 bytes per row and
    reference.
    """
    count = min(neighbors, len(references))
    similarity = tile @ references.T
    similarity[groups[:, None] == reference_groups] = _EXCLUDED
    least = np.partition(similarity, len(references) - count, axis=1)[:, len(references) - count, None]
    nearest = similarity >= least
    for row in np.flatnonzero(nearest.sum(axis=1) > count):
        ties = np.flatnonzero(similarity[row] == least[row])
        nearest[row, ties[count - int((similarity[row] > least[row]).sum()) :]] = False
    found = np.nonzero(nearest)[1].reshape(len(tile), count)
    labels = reference_labels[found].astype(np.int32)
    labels[np.take_along_axis(similarity, found, axis=1) == _EXCLUDED] = -1
    return labels


def class_share(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the share of class `classes` (n,) among the labels (n, k) of nearest images, float64 (n,); NaN without any."""
    valid = (labels >= 0).sum(axis=1)
    hits = (labels == classes[:, None]).sum(axis=1)
    return np.where(valid > 0, hits / np.maximum(valid, 1), np.nan)
