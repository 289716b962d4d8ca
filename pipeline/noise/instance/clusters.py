"""Cluster noise: images of a class that look alike get the same wrong label."""

import numpy as np

from pipeline.noise.instance import exact

CLUSTERS = 8  # of each class
_ROUNDS = 20


class Clusters:
    """Wrong labels in the way of cluster-based noise: Lim, Larson and Leach, "Robust Testing for Deep Learning using Human
    Label Noise" (2024).

    There, the images of a class within a radius of random points, in a plane that t-SNE makes of CLIP features, flip to the
    class whose center is nearest to the point. Here, k-means divides each class into 8 clusters of its features, and
    the wrong label of a cluster is the other class whose mean is nearest to the mean of the cluster. The selection of images
    does not follow the clusters.

    sample: standardized features, int16 (n, d), with labels int (n,), in a random order.
    """

    def __init__(self, sample: np.ndarray, labels: np.ndarray, classes: int) -> None:
        self.centers: list[np.ndarray] = []
        means = np.stack([exact.mean_rows(sample[labels == label]) for label in range(classes)])
        self.targets: list[np.ndarray] = []
        for label in range(classes):
            centers = k_means(sample[labels == label])
            similarity = _similarity(centers, means)
            similarity[:, label] = np.iinfo(np.int64).min
            self.centers.append(centers)
            self.targets.append(similarity.argmax(axis=1))

    def flip(self, rows: np.ndarray, labels: np.ndarray, _hashes: np.ndarray, /) -> np.ndarray:
        """Return wrong labels, int64 (n,); rows: standardized features, int16 (n, d). No hash has a part in it."""
        wrong = np.empty(len(labels), np.int64)
        for label in np.unique(labels).tolist():
            own = np.flatnonzero(labels == label)
            wrong[own] = self.targets[label][_similarity(rows[own], self.centers[label]).argmax(axis=1)]
        return wrong


def k_means(rows: np.ndarray) -> np.ndarray:
    """Return the centers of up to CLUSTERS clusters, int64 (k, d), of rows, int16 (n, d), n > 0.

    Lloyd's algorithm from the first rows, in integer arithmetic; ties go to the cluster of lower number.
    """
    centers = rows[:CLUSTERS].astype(np.int64)
    nearest = np.full(len(rows), -1)
    for _ in range(_ROUNDS):
        previous, nearest = nearest, _similarity(rows, centers).argmax(axis=1)
        if (nearest == previous).all():
            break
        for number in np.unique(nearest).tolist():
            centers[number] = exact.mean_rows(rows[nearest == number])
    return centers


def _similarity(rows: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Return 2·x·c − c·c, int64 (n, k), which is largest for the nearest center."""
    return 2 * exact.products(rows, centers.T) - (centers * centers).sum(axis=1)
