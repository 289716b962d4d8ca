import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.audit.exact import GRID, on_grid


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 1280, 8192]))
def test_products_of_vectors_on_the_grid_are_exact_in_any_order(seed, size):
    rng = np.random.default_rng(seed)
    vectors = on_grid(rng.standard_normal((4, size)) ** 3)
    integers = np.rint(vectors.astype(np.float64) * GRID).astype(np.int64)
    exact = integers @ integers.T
    order = rng.permutation(size)
    assert np.array_equal(vectors * GRID, integers)
    for products in (vectors @ vectors.T, vectors[:, order] @ vectors[:, order].T):
        assert np.array_equal(products.astype(np.float64) * GRID**2, exact)


def test_the_longest_vector_after_rounding_up_stays_within_length_one():
    vector = np.full((1, 8192), 0.5 + 1e-3)  # every number of the scaled vector is rounded
    assert np.linalg.norm(on_grid(vector).astype(np.float64)) <= 1


def test_a_zero_vector_stays_zero_and_infinity_is_refused():
    assert not on_grid(np.zeros((1, 5), np.float16)).any()
    with pytest.raises(ValueError, match="not finite"):
        on_grid(np.array([[np.inf, 1]], np.float16))
