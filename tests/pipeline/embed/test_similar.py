"""Image-to-image search finds the nearest images exactly, whatever the order of blocks and threads."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedupe.feature_neighbors import rounded_vectors
from pipeline.embed.similar import find_similar


def drawn(seed: int, classes: int = 3, pool: int = 60, size: int = 16) -> tuple[list[np.ndarray], tuple]:
    rng = np.random.default_rng(seed)
    queries = [rng.normal(size=(rng.integers(0, 5), size)).astype(np.float16) for _ in range(classes)]
    vectors = rng.normal(size=(pool, size)).astype(np.float16)
    vectors[pool // 2] = vectors[0]  # equal images
    return queries, (vectors, rng.permutation(pool).astype(np.uint64), rng.random((pool, classes)) < 0.8)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), limit=st.integers(1, 80), cuts=st.lists(st.integers(0, 60), max_size=4))
def test_the_result_is_that_of_sorting_all_pairs(seed: int, limit: int, cuts: list[int]) -> None:
    queries, (vectors, keys, allowed) = drawn(seed)
    edges = [0, *sorted(cuts), len(vectors)]
    blocks = [(vectors[a:b], keys[a:b], allowed[a:b]) for a, b in pairwise(edges)]
    for number, nearest in enumerate(find_similar(queries, blocks, limit)):
        if not len(queries[number]):
            assert len(nearest.rows) == 0
            continue
        similarity = (
            rounded_vectors(vectors).astype(int) @ rounded_vectors(queries[number]).astype(int).T
        ).max(1)
        rows = np.flatnonzero(allowed[:, number])
        expected = sorted(rows, key=lambda row: (-similarity[row], keys[row]))[:limit]
        assert nearest.rows.tolist() == expected
        unit = vectors.astype(float) / np.linalg.norm(vectors.astype(float), axis=1, keepdims=True)
        other = queries[number].astype(float)
        other /= np.linalg.norm(other, axis=1, keepdims=True)
        np.testing.assert_allclose(nearest.cosines, (unit @ other.T).max(1)[nearest.rows], atol=2e-3)
