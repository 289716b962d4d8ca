import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.audit.label_errors import error_probabilities, plant_errors, visible_errors
from tests.pipeline.audit.worlds import calibrated


def world(share: float, seed: int, count: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class probabilities of a sharp probe, labels of which `share` are wrong at random, and which are wrong."""
    probabilities, truth = calibrated(count, 6, seed, sharpness=8)
    rng = np.random.default_rng(seed)
    wrong = rng.permutation(count) < round(share * count)
    return probabilities, np.where(wrong, (truth + rng.integers(1, 6, count)) % 6, truth), wrong


@pytest.mark.parametrize("share", [0, 0.01, 0.05, 0.2, 0.4])
def test_the_interval_holds_the_share_of_random_errors(share):
    held = 0
    for seed in range(20):
        probabilities, labels, _ = world(share, seed)
        own = probabilities[np.arange(len(labels)), labels]
        found = visible_errors(own, plant_errors(probabilities, labels))
        held += found.low <= share <= found.high
    assert held >= 18


def test_probabilities_of_errors_are_calibrated_and_fall_with_the_probability_of_the_label():
    probabilities, labels, wrong = world(0.1, 0, 20_000)
    own = probabilities[np.arange(len(labels)), labels]
    planted = plant_errors(probabilities, labels)
    found = error_probabilities(own, planted, 0.1)
    assert np.all(np.diff(found[np.argsort(own)]) <= 1e-12)
    for low, high in ((0, 0.2), (0.2, 0.6), (0.6, 1.01)):
        bin_ = (found >= low) & (found < high)
        assert abs(found[bin_].mean() - wrong[bin_].mean()) < 0.1


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.floats(0, 1))
def test_any_labels_give_probabilities(seed, count, share):
    rng = np.random.default_rng(seed)
    probabilities = np.round(rng.dirichlet([0.1] * 3, count), 2)  # ties, zeros and ones
    labels = rng.integers(0, 3, count)
    own = probabilities[np.arange(count), labels]
    planted = plant_errors(probabilities, labels)
    found = error_probabilities(own, planted, share)
    estimate = visible_errors(own, planted)
    assert found.shape == (count,)
    assert ((found >= 0) & (found <= 1)).all()
    assert 0 <= estimate.low <= estimate.share <= estimate.high <= 1
