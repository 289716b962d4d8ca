"""Integer arithmetic: exact, and close to the real numbers that it stands for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.noise.instance import exact

SEEDS = st.integers(0, 2**32 - 1)


@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_a_matrix_product_of_integers_is_exact_in_any_order_of_its_terms(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.integers(-512, 513, (5, 300)).astype(np.int16)
    columns = rng.integers(-(2**30), 2**30, (300, 4))
    expected = [
        [sum(int(a) * int(b) for a, b in zip(row, column, strict=True)) for column in columns.T]
        for row in rows
    ]
    order = rng.permutation(300)
    assert exact.products(rows, columns).tolist() == expected
    assert exact.products(rows[:, order], columns[order]).tolist() == expected


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.integers(2, 40))
def test_weights_are_the_softmax_of_the_scores(seed: int, columns: int) -> None:
    scores = np.random.default_rng(seed).integers(-2000, 2000, (20, columns))
    weights = exact.softmax_weights(scores)
    expected = np.exp((scores - scores.max(axis=1, keepdims=True)) / exact.UNIT)
    assert np.abs(weights / 2**20 - expected).max() < 1e-6


def test_known_exponentials() -> None:
    """round(2**20 · exp(−x)) for x = 0, 1/64, 1, 10, 14: values of a table of logarithms."""
    scores = np.array([[0, -1, -64, -640, -896]])
    assert exact.softmax_weights(scores).tolist() == [[1048576, 1032319, 385750, 48, 1]]


def test_draws_have_the_probabilities_of_the_softmax() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**64, 200_000, dtype=np.uint64)
    scores = np.array([[0, 64, 128, -64]])
    drawn = np.bincount(exact.draw(np.repeat(scores, len(hashes), axis=0), hashes), minlength=4) / len(hashes)
    expected = np.exp([0, 1, 2, -1]) / np.exp([0, 1, 2, -1]).sum()
    assert np.abs(drawn - expected).max() < 4 * np.sqrt(0.25 / len(hashes))


def test_the_largest_and_the_smallest_hash_draw_the_last_and_the_first_column() -> None:
    scores = np.zeros((2, 5), np.int64)
    assert exact.draw(scores, np.array([0, 2**64 - 1], np.uint64)).tolist() == [0, 4]


@pytest.mark.parametrize("classes", [2, 10, 4000])
def test_the_weights_of_many_classes_add_up_to_less_than_32_bits(classes: int) -> None:
    weights = exact.softmax_weights(np.zeros((1, classes), np.int64))
    assert 0 < weights.sum() < 2**32


def test_features_are_standardized_whatever_their_scale_and_constants_vanish() -> None:
    rng = np.random.default_rng(1)
    sample = np.stack([rng.normal(3, 2, 5000), rng.normal(-40, 9, 5000), np.full(5000, 1.5)], axis=1).astype(
        np.float16
    )
    found = exact.Standardizer(sample)(sample) / exact.UNIT
    expected = (sample[:, :2] - sample[:, :2].mean(0, np.float64)) / sample[:, :2].std(0, np.float64)
    assert np.abs(found[:, :2] - expected).max() < 0.03
    assert not found[:, 2].any()


def test_features_that_are_no_numbers_are_clipped() -> None:
    standardize = exact.Standardizer(np.array([[0.0], [1.0]], np.float16))
    assert standardize(np.array([[np.inf], [-np.inf], [np.nan]], np.float16)).tolist() == [
        [512],
        [-512],
        [-64],
    ]
