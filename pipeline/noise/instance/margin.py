"""Margin noise: the wrong label is the most probable other class by a linear classifier on the features."""

import numpy as np

from pipeline.noise.instance import exact

_STEPS, _MOMENTUM = 60, 9  # gradient steps; tenths of the last step that the next one keeps
_WEIGHT_BITS = 16  # weights are in steps of 2**-16
_PROBABILITY_BITS = 12
_RATE_SHIFT = 6  # learning rate 2**-6
# From the units of a gradient (features × probabilities) times the learning rate to those of a weight.
_GRADIENT_SHIFT = (exact.UNIT.bit_length() - 1) + _PROBABILITY_BITS + _RATE_SHIFT - _WEIGHT_BITS


class Margin:
    """Wrong labels of polynomial-margin diminishing noise: Zhang et al., "Learning with Feature-Dependent Label Noise: A
    Progressive Approach" (ICLR 2021), section 4.

    There, η(x) are the class probabilities of a network, u and s the most and second most probable class, and the label
    flips from u to s with a probability that falls with the margin η_u − η_s. Here the selection of images replaces that
    probability, η is softmax regression on frozen features, and an image of class y gets the most probable class other
    than y, also where the classifier is mistaken about y.

    sample: standardized features, int16 (n, d), with labels int (n,).
    """

    def __init__(self, sample: np.ndarray, labels: np.ndarray, classes: int) -> None:
        self.weights = fit(sample, labels, classes)

    def flip(self, rows: np.ndarray, labels: np.ndarray, _hashes: np.ndarray, /) -> np.ndarray:
        """Return wrong labels, int64 (n,); rows: standardized features, int16 (n, d). No hash has a part in it."""
        scores = exact.products(rows, self.weights)
        scores[np.arange(len(labels)), labels] = np.iinfo(np.int64).min
        return np.asarray(scores.argmax(axis=1))


def fit(sample: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Fit softmax regression in integer arithmetic, by gradient descent with momentum from zero; return int64 (d, classes).

    The weights are in steps of 2**-16. Early stopping regularizes.
    """
    weights = np.zeros((sample.shape[1], classes), np.int64)
    step = np.zeros_like(weights)
    for _ in range(_STEPS):
        gradient = np.zeros_like(weights)
        for start in range(0, len(sample), exact.ROWS_TOGETHER):
            rows, own = (part[start : start + exact.ROWS_TOGETHER] for part in (sample, labels))
            shares = exact.softmax_weights(exact.products(rows, weights) >> _WEIGHT_BITS)
            errors = (shares << _PROBABILITY_BITS) // shares.sum(axis=1, keepdims=True)
            errors[np.arange(len(own)), own] -= 1 << _PROBABILITY_BITS
            gradient += exact.products(rows.T, errors)
        step = step * _MOMENTUM // 10 - gradient // (len(sample) << _GRADIENT_SHIFT)
        weights += step
    return weights
