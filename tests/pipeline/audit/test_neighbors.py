import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.audit.exact import on_grid
from pipeline.audit.neighbors import class_share, nearest_labels


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 12))
def test_the_nearest_are_those_of_a_full_sort(seed, references, neighbors):
    rng = np.random.default_rng(seed)
    # few different vectors, so that many similarities are equal
    points = on_grid(rng.integers(-1, 2, (references + 6, 3)).astype(float))
    groups = rng.integers(0, 10, references + 6)
    labels = rng.integers(0, 4, references)
    tile, base = points[references:], points[:references]
    found = nearest_labels(tile, groups[references:], base, labels, groups[:references], neighbors)
    for row in range(len(tile)):
        usable = np.flatnonzero(groups[:references] != groups[references + row])
        order = usable[np.argsort(-(tile[row] @ base[usable].T), kind="stable")]
        expected = list(labels[order[:neighbors]])
        expected += [-1] * (min(neighbors, references) - len(expected))
        assert sorted(found[row].tolist()) == sorted(expected)


def test_the_share_counts_references_of_other_groups_only():
    shares = class_share(np.array([[2, 2, -1, 1], [-1, -1, -1, -1]]), np.array([2, 0]))
    assert shares[0] == 2 / 3
    assert np.isnan(shares[1])
