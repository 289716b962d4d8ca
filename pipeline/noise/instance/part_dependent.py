"""Part-dependent noise: each class has random directions in feature space that pull its images to the other classes."""

from functools import lru_cache

import numpy as np

from pipeline.keyed_hash import keyed_hash
from pipeline.noise.instance import exact

_WORDS = 4  # of 64 fair bits: their sum has the standard deviation 8
_DEVIATION = 8


class PartDependent:
    """Instance-dependent noise as in Xia et al., "Part-dependent Label Noise: Towards Instance-dependent Label Noise"
    (NeurIPS 2020), Algorithm 2.

    There, an image x of class y flips with a rate q that is drawn independently of x, to class k ≠ y with probability
    softmax_k(x · W_y), where W_y (features × classes) has standard normal entries. Here the selection of images replaces the
    rate, and x are standardized features instead of pixels. Standard normal entries are sums of 256 fair bits.
    """

    def __init__(self, classes: int, seed: int) -> None:
        self.classes, self.seed = classes, seed
        # The directions of all classes together would not fit in memory; images come sorted by class.
        self._directions = lru_cache(maxsize=1)(self._draw_directions)

    def flip(self, rows: np.ndarray, labels: np.ndarray, hashes: np.ndarray, /) -> np.ndarray:
        """Return wrong labels, int64 (n,); rows: standardized features, int16 (n, d); hashes: uint64 (n,)."""
        wrong = np.empty(len(labels), np.int64)
        for label in np.unique(labels).tolist():
            own = np.flatnonzero(labels == label)
            scores = exact.products(rows[own], self._directions(label, rows.shape[1])) // _DEVIATION
            # Without the column of the own class, the others keep their order.
            drawn = exact.draw(np.delete(scores, label, axis=1), hashes[own])
            wrong[own] = drawn + (drawn >= label)
        return wrong

    def _draw_directions(self, label: int, dimension: int) -> np.ndarray:
        """W of a class, int16 (d, classes), in steps of 1/8."""
        [key] = keyed_hash([str(label)], self.seed, "directions").tolist()
        words = np.random.Philox(key=key).random_raw(dimension * self.classes * _WORDS)
        bits = np.bitwise_count(words).reshape(dimension, self.classes, _WORDS)
        total = np.full((dimension, self.classes), -32 * _WORDS, np.int16)
        for number in range(_WORDS):  # several times as fast as a sum over the short axis
            total += bits[:, :, number]
        return total
