import numpy as np

from pipeline.audit.transition import GROUPS, estimate_transition
from tests.pipeline.audit.worlds import calibrated, draw

MATRIX = np.array([[0.85, 0.15, 0.0], [0.05, 0.9, 0.05], [0.0, 0.3, 0.7]])


def test_the_intervals_hold_the_matrix_and_the_noise_in_simulated_worlds():
    held, entries, noise = 0, 0, 0
    worlds = 20
    for seed in range(worlds):
        probabilities, truth = calibrated(1500, 3, seed, sharpness=4)
        rng = np.random.default_rng(1000 + seed)
        labels = draw(MATRIX[truth], rng)
        found = estimate_transition(probabilities, labels, rng.integers(0, GROUPS, len(labels)))
        inside = (found.low - 1e-3 <= MATRIX) & (found.high + 1e-3 >= MATRIX)
        held, entries = held + int(inside.sum()), entries + inside.size
        noise += found.noise.low <= (labels != truth).mean() <= found.noise.high
    assert held / entries >= 0.9
    assert noise / worlds >= 0.9


def test_the_factor_makes_up_for_flat_probabilities():
    probabilities, truth = calibrated(4000, 3, 0, sharpness=4)
    flat = probabilities**0.5 / (probabilities**0.5).sum(axis=1, keepdims=True)
    groups = np.arange(len(truth)) % GROUPS
    assert abs(estimate_transition(flat, truth, groups).factor - 2) < 0.3
