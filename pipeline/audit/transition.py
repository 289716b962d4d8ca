"""Estimate the transition matrix from true classes to given labels, with intervals.

The model: the probe's logits, times a common factor, are the log odds of the true class; the given label depends on the
true class alone (the noise model of J. Goldberger, E. Ben-Reuven: Training Deep Neural Networks Using a Noise Adaptation
Layer, ICLR 2017, equation 2). Factor and matrix are fitted by EM.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.audit.label_errors import EstimatedShare
from pipeline.audit.probe import softmax

GROUPS = 20  # of the jackknife
QUANTILE = 2.093  # 97.5 % of the t distribution with GROUPS − 1 degrees of freedom
_MAX_STEPS, _TOLERANCE = 200, 1e-6
_PRIOR = 0.5  # pseudo-count of each transition


@dataclass(frozen=True)
class Transition:
    """The transition matrix, float64 (classes, classes): row true class, column given label; bounds of 95 % intervals.

    noise: the share of labels that are wrong by the model, with its interval. factor: of the logits.
    """

    matrix: np.ndarray
    low: np.ndarray
    high: np.ndarray
    noise: EstimatedShare
    factor: float


def estimate_transition(probabilities: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> Transition:
    """Fit the model to class probabilities of held-out images (n, classes) and given labels, int (n,).

    groups: int (n,), below GROUPS, random by image. The intervals are those of the delete-a-group jackknife (P. S. Kott,
    2001): they cover the chance of sampling, under the model, and not the error of a wrong model.
    """
    logits = np.log(np.maximum(probabilities, 1e-12))
    classes = logits.shape[1]
    start = np.full((classes, classes), 0.1 / classes) + 0.9 * np.eye(classes)
    whole = _fit(logits, labels, start, 1.0)
    replicates = []
    for group in range(GROUPS):
        rest = groups != group
        replicates.append(_fit(logits[rest], labels[rest], whole[0], whole[1]))
    scale = np.sqrt((GROUPS - 1) / GROUPS)
    deviation = scale * np.sqrt(sum((each[0] - whole[0]) ** 2 for each in replicates))
    noise_deviation = scale * float(np.sqrt(sum((each[2] - whole[2]) ** 2 for each in replicates)))
    bounds = [np.clip(whole[0] + sign * QUANTILE * deviation, 0, 1) for sign in (-1, 1)]
    low, high = (min(max(whole[2] + sign * QUANTILE * noise_deviation, 0.0), 1.0) for sign in (-1, 1))
    return Transition(whole[0], bounds[0], bounds[1], EstimatedShare(whole[2], low, high), whole[1])


def _fit(
    logits: np.ndarray, labels: np.ndarray, matrix: np.ndarray, factor: float
) -> tuple[np.ndarray, float, float]:
    """Return the matrix, the factor and the share of wrong labels after EM from the given start."""
    classes, own = logits.shape[1], (np.arange(len(labels)), labels)
    before = -np.inf
    for _ in range(_MAX_STEPS):
        prior = softmax(factor * logits)
        joint = prior * matrix[:, labels].T
        evidence = joint.sum(axis=1)
        posterior = joint / evidence[:, None]
        counts = np.stack([np.bincount(labels, column, classes) for column in posterior.T]) + _PRIOR / classes
        matrix = counts / counts.sum(axis=1, keepdims=True)
        # One Newton step for the factor, of the expected log-likelihood of the true classes.
        mean = (prior * logits).sum(axis=1)
        slope = float(((posterior * logits).sum(axis=1) - mean).mean())
        curvature = float(((prior * logits * logits).sum(axis=1) - mean * mean).mean())
        factor = float(np.clip(factor + slope / max(curvature, 1e-9), factor / 2, factor * 2))
        value = float(np.log(evidence).mean())
        if abs(value - before) < _TOLERANCE:
            break
        before = value
    return matrix, factor, float(1 - posterior[own].mean())
