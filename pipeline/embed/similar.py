"""Image-to-image search in one's own pool: the web images whose features are nearest to a clean image of a class.

The similarity is the cosine of two feature vectors. It decides an order, so it is the same for any number of threads: vectors
are rounded to whole numbers, whose dot products float32 computes exactly (dedupe/feature_neighbors.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from pipeline.dedupe.feature_neighbors import SCALE, rounded_vectors

BLOCK = 4096  # images of the pool that are compared at once


@dataclass
class Nearest:
    """The best images of the pool for one class so far.

    limit: how many are kept. similarity: int64 (n,), descending, in units of 1/SCALE². keys: shard keys of these images,
    uint64 (n,), which order equal similarities. rows: their indices in the pool, int64 (n,). queries: index of the nearest
    query image of each, int64 (n,).
    """

    limit: int
    similarity: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    keys: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    queries: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    def add(self, similarity: np.ndarray, keys: np.ndarray, rows: np.ndarray, queries: np.ndarray) -> None:
        """Add images of the pool, and keep the best; the order of the calls does not matter."""
        similarity = np.concatenate([self.similarity, similarity])
        keys = np.concatenate([self.keys, keys])
        best = np.lexsort((keys, -similarity))[: self.limit]
        self.similarity, self.keys = similarity[best], keys[best]
        self.rows = np.concatenate([self.rows, rows])[best]
        self.queries = np.concatenate([self.queries, queries])[best]

    @property
    def cosines(self) -> np.ndarray:
        """Similarities from −1 to 1, float64 (n,), correct to about 0.001."""
        return self.similarity / SCALE**2


def find_similar(
    queries: list[np.ndarray],
    pool: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]],
    limit: int,
) -> list[Nearest]:
    """Return the images of the pool that are most similar to a query image of each class.

    queries: for each class the features of its query images, float [n_c, C]. pool: blocks of features float [m, C], shard
    keys uint64 (m,), and a mask bool (m, classes) of the classes that an image may be found for; rows are counted through
    all blocks. The similarity to a class is that to the nearest of its query images.
    """
    rounded = [rounded_vectors(each).astype(np.float32) for each in queries]
    nearest = [Nearest(limit) for _ in queries]
    start = 0
    for vectors, keys, allowed in pool:
        for first in range(0, len(vectors), BLOCK):
            part = slice(first, min(first + BLOCK, len(vectors)))
            block = rounded_vectors(vectors[part]).astype(np.float32)
            for number, of_class in enumerate(rounded):
                chosen = np.flatnonzero(allowed[part, number])
                if len(of_class) and len(chosen):
                    products = block[chosen] @ of_class.T
                    best = products.argmax(axis=1)  # the first of equal ones, in the order of the shard keys
                    similarity = products[np.arange(len(chosen)), best].astype(np.int64)
                    rows = start + first + chosen
                    nearest[number].add(similarity, keys[part][chosen], rows, best)
        start += len(vectors)
    return nearest
