import numpy as np

from pipeline.audit.confident import confident_joint, joint_distribution
from tests.pipeline.audit.worlds import calibrated, draw


def test_the_counts_of_a_small_example():
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.1, 0.9], [0.2, 0.8], [0.45, 0.55]])
    # thresholds: class 0 (0.9 + 0.7 + 0.1) / 3 = 0.567, class 1 (0.8 + 0.55) / 2 = 0.675; the last image reaches neither
    assert confident_joint(probabilities, np.array([0, 0, 0, 1, 1])).tolist() == [[2, 1], [0, 1]]


def test_counts_and_joint_equal_those_of_cleanlab():
    probabilities, truth = calibrated(300, 4, 0)
    other = draw(probabilities, np.random.default_rng(0))
    labels = np.where(np.random.default_rng(0).random(300) < 0.2, other, truth)
    labels[:4] = range(4)
    counts = confident_joint(probabilities, labels)
    # cleanlab 2.9.0: count.compute_confident_joint(…, calibrate=False), and count.estimate_joint of it, in whole images
    assert counts.tolist() == [[49, 1, 5, 11], [4, 37, 5, 5], [4, 1, 33, 6], [5, 2, 4, 42]]
    joint = [[76, 1, 8, 17], [5, 46, 6, 6], [5, 1, 41, 7], [8, 3, 6, 64]]
    assert np.abs(300 * joint_distribution(counts, labels) - joint).max() <= 1


def test_a_class_without_labels_is_never_confident():
    counts = confident_joint(np.array([[0.2, 0.8], [0.6, 0.4]]), np.array([0, 0]))
    assert counts.tolist() == [[1, 0], [0, 0]]
    assert joint_distribution(counts, np.array([0, 0])).tolist() == [[1, 0], [0, 0]]
