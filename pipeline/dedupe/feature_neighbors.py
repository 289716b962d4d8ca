"""Nearest test images of training images by the features of a network: exact, and the same for any number of threads.

Vectors are scaled to norm SCALE and rounded to whole numbers. By the Cauchy-Schwarz inequality all partial sums of an inner
product stay below 2²⁴, so float32 computes them exactly, in whatever order a BLAS library adds.
"""

import numpy as np

SCALE = 2048  # (SCALE + rounding of up to 0.5·√C)² < 2²⁴ for features of up to 16 million numbers
BLOCK_BYTES = 32 << 20  # of the similarities that are held at once


def rounded_vectors(features: np.ndarray) -> np.ndarray:
    """Return features (n, C) scaled to norm SCALE and rounded, int16 (n, C); a vector of zeros stays one."""
    values = features.astype(np.float64)
    norm = np.sqrt((values * values).sum(axis=1, keepdims=True))
    scaled = np.divide(values * SCALE, norm, out=np.zeros_like(values), where=norm > 0)
    return np.rint(scaled).astype(np.int16)


def nearest_tests(
    training: np.ndarray, test: np.ndarray, count: int, min_similarity: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs (training row, test row), int64 (pairs,): the `count` most similar test images of each training image.

    training, test: `rounded_vectors` of n and m images. min_similarity: lowest cosine similarity, −1 to 1. Of equally similar
    test images the one with the lower row counts. Cost: n·m·C multiplications, 2·C bytes per image.
    """
    m = len(test)
    count = min(count, m)
    if not count or not len(training):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    transposed = np.ascontiguousarray(test.T, np.float32)
    limit = min_similarity * SCALE * SCALE
    pairs = [np.empty((2, 0), np.int64)]
    rows = max(1, BLOCK_BYTES // (8 * m))
    for start in range(0, len(training), rows):
        products = (training[start : start + rows].astype(np.float32) @ transposed).astype(np.int64)
        ranked = products * m + np.arange(m - 1, -1, -1)  # distinct: ties are decided by the row
        chosen = np.argpartition(ranked, m - count, axis=1)[:, m - count :]
        row, column = np.nonzero(np.take_along_axis(products, chosen, axis=1) >= limit)
        pairs.append(np.stack([row + start, chosen[row, column]]))
    training_row, test_row = np.concatenate(pairs, axis=1)
    order = np.lexsort((test_row, training_row))
    return training_row[order], test_row[order]
