"""Confident learning: counts of given and probable labels (C. G. Northcutt, L. Jiang, I. L. Chuang: Confident Learning,
JAIR 70, 2021)."""

import numpy as np


def confident_joint(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the counts of (given label, confident class), int64 (classes, classes): equations 1 and 2 of section 3.1.

    probabilities: (n, classes), of held-out images; labels: int (n,). An image counts for the most probable of the classes
    whose probability reaches the mean probability of that class among images with that label; for none, if there is none.
    """
    classes = probabilities.shape[1]
    own = probabilities[np.arange(len(labels)), labels]
    sizes = np.bincount(labels, minlength=classes)
    thresholds = np.bincount(labels, own, classes) / np.maximum(sizes, 1)
    thresholds[sizes == 0] = np.inf
    reached = np.where(probabilities >= thresholds - 1e-12, probabilities, -1.0)
    best = reached.argmax(axis=1)
    counted = reached.max(axis=1) >= 0
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels[counted], best[counted]), 1)
    return counts


def joint_distribution(counts: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the estimated joint distribution of (given, true) label, float64 (classes, classes): equation 3.

    The rows of the counts are scaled to the number of images with each given label; a row without counts is diagonal.
    """
    sizes = np.bincount(labels, minlength=len(counts)).astype(np.float64)
    rows = counts.sum(axis=1, keepdims=True)
    scaled = np.where(rows > 0, counts / np.maximum(rows, 1), np.eye(len(counts))) * sizes[:, None]
    result: np.ndarray = scaled / scaled.sum()
    return result
