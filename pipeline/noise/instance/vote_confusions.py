"""Vote noise: the wrong label is one that workers gave to a similar image of the same class."""

import numpy as np

from pipeline.noise.instance import exact


class VoteConfusions:
    """The confusions of the annotators, image by image: an image of class y gets the class for which workers took the most
    similar web image of y, by the inner product of standardized features divided by the norm of the web image's.

    rows: standardized features of confused web images, int16 (m, d); shown: int (m,), the class that each shows;
    taken_for: int (m,), the class that workers took it for. Each class has at least one.
    """

    def __init__(self, rows: np.ndarray, shown: np.ndarray, taken_for: np.ndarray) -> None:
        order = np.argsort(shown, kind="stable")
        self.rows, self.shown, self.taken_for = unit_rows(rows[order]), shown[order], taken_for[order]

    def flip(self, rows: np.ndarray, labels: np.ndarray, _hashes: np.ndarray, /) -> np.ndarray:
        """Return wrong labels, int64 (n,); rows: standardized features, int16 (n, d). No hash has a part in it."""
        wrong = np.empty(len(labels), np.int64)
        for label in np.unique(labels).tolist():
            own = np.flatnonzero(labels == label)
            low, high = np.searchsorted(self.shown, [label, label + 1])
            similarity = exact.products(rows[own], self.rows[low:high].T)
            wrong[own] = self.taken_for[low:high][similarity.argmax(axis=1)]
        return wrong


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Scale integer rows (n, d) to the norm 2**12, int64 (n, d)."""
    values = rows.astype(np.int64) << 12
    norms = np.sqrt((rows.astype(np.int64) ** 2).sum(axis=1)).astype(np.int64)
    return np.asarray(values // np.maximum(norms, 1)[:, None])
