import numpy as np
import pytest

from pipeline.audit.probe import FOLDS, UNLABELED, fit_probe, fit_temperature
from tests.pipeline.audit.worlds import features

COUNT, CLASSES = 400, 4
TRUTH = np.random.default_rng(1).integers(0, CLASSES, COUNT)
FEATURES = features(TRUTH)
FOLD = np.random.default_rng(2).integers(0, FOLDS, COUNT)
ORDER = np.random.default_rng(3).integers(0, 2**63, COUNT).astype(np.uint64)


def fitted(labels: np.ndarray, cuts: tuple[int, ...] = ()):
    blocks = np.split(FEATURES, cuts)
    return fit_probe(lambda: blocks, labels, FOLD, ORDER, CLASSES)


def test_a_probe_is_the_ridge_regression_of_the_other_folds():
    probe = fitted(TRUTH)
    design = np.hstack([FEATURES, np.ones((COUNT, 1))]).astype(np.float64)
    for fold in range(FOLDS):
        rest = fold != FOLD
        x, y = design[rest], np.eye(CLASSES)[TRUTH[rest]]
        ridge = probe.penalty * np.trace(x.T @ x) / x.shape[1]
        padded = np.vstack([x, np.sqrt(ridge) * np.eye(x.shape[1])])  # ridge regression as least squares
        expected = np.linalg.lstsq(padded, np.vstack([y, np.zeros((x.shape[1], CLASSES))]), rcond=None)[0]
        assert np.allclose(probe.weights[fold] / probe.temperature, expected, atol=1e-6)


def test_labels_of_a_fold_do_not_change_its_own_probe():
    changed = np.where(FOLD == 2, (TRUTH + 1) % CLASSES, TRUTH)
    before, after = fitted(TRUTH), fitted(changed)
    same = before.weights / before.temperature, after.weights / after.temperature
    if before.penalty == after.penalty:
        assert np.allclose(same[0][2], same[1][2])
    assert not np.allclose(same[0][1], same[1][1])


def test_the_cut_into_blocks_and_unlabeled_images_change_no_bit():
    labels = np.where(np.arange(COUNT) % 7 == 0, UNLABELED, TRUTH)
    whole = fitted(labels)
    assert np.array_equal(whole.weights, fitted(labels, (1, 2, 250)).weights)
    predicted = whole.probabilities(FEATURES, FOLD).argmax(axis=1)
    assert (predicted == TRUTH).mean() > 0.9


def test_more_wrong_labels_get_a_larger_penalty():
    rng = np.random.default_rng(5)
    noisy = np.where(rng.random(COUNT) < 0.7, rng.integers(0, CLASSES, COUNT), TRUTH)
    wide = features(TRUTH, size=60, spread=0.3)
    right, wrong = (
        fit_probe(lambda: [wide], labels, FOLD, ORDER, CLASSES).penalty for labels in (TRUTH, noisy)
    )
    assert wrong > right


def test_the_temperature_of_calibrated_logits_is_one():
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((20_000, 5)) * 2
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)  # a draw from the softmax
    assert fit_temperature(logits / 3, labels)[0] == pytest.approx(3, rel=0.05)


def test_one_fold_or_one_class_is_refused():
    with pytest.raises(ValueError, match="two classes in two folds"):
        fitted(np.zeros(COUNT, np.int64))
    with pytest.raises(ValueError, match="another number of images than 2"):
        fit_probe(lambda: [FEATURES], TRUTH[:2], FOLD[:2] * 0 + [0, 1], ORDER[:2], CLASSES)
