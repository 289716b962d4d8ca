"""How many given labels are wrong, and with what probability each: given labels are compared with labels known to be wrong.

Nearly every image does not show nearly every class other than its label. Scored with such planted wrong labels, the probe
shows how often a wrong label gets how little probability. If a share v of the given labels is wrong in the same way, at
least v times as many given labels get as little; the ratio at low probabilities, where right labels are rare, estimates v
(mixture proportion estimation: G. Blanchard, G. Lee, C. Scott: Semi-Supervised Novelty Detection, JMLR 11, 2010). Wrong
labels that the probe finds plausible escape it, so it bounds the true share from below.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from pipeline.aggregate.wilson import wilson_interval

QUANTILES = (0.05, 0.1, 0.2)  # of the planted wrong labels, at which the ratio is taken
_BINS = 50


@dataclass(frozen=True)
class EstimatedShare:
    """A share with its 95 % interval."""

    share: float
    low: float
    high: float


@dataclass(frozen=True)
class PlantedErrors:
    """The distribution of the probability of planted wrong labels: `values` ascending, and their cumulative weight up to 1."""

    values: np.ndarray
    cumulative: np.ndarray

    def quantile(self, share: float) -> float:
        """Return the probability below which `share` of the planted labels are."""
        index = int(np.searchsorted(self.cumulative, share * (1 - 1e-9)))
        return float(self.values[min(index, len(self.values) - 1)])

    def below(self, values: np.ndarray) -> np.ndarray:
        """Return the share of planted labels with at most the given probabilities."""
        index = np.searchsorted(self.values, values, side="right")
        return np.concatenate([[0.0], self.cumulative])[index]


def plant_errors(probabilities: np.ndarray, labels: np.ndarray) -> PlantedErrors:
    """Plant every wrong label on every image, weighted by how often the probe takes the class of the image for it.

    probabilities: (n, classes), of held-out images; labels: int (n,).
    """
    classes = probabilities.shape[1]
    sizes = np.maximum(np.bincount(labels, minlength=classes), 1)
    sums = np.stack([np.bincount(labels, column, classes) for column in probabilities.T], axis=1)
    confusion = sums / sizes[:, None] + 1e-9
    np.fill_diagonal(confusion, 0)
    confusion /= confusion.sum(axis=1, keepdims=True)
    values, weights = probabilities.ravel(), confusion[labels].ravel()
    order = np.argsort(values, kind="stable")
    order = order[weights[order] > 0]
    cumulative = np.cumsum(weights[order])
    return PlantedErrors(values[order], cumulative / cumulative[-1])


def visible_errors(own: np.ndarray, planted: PlantedErrors) -> EstimatedShare:
    """Return the share of given labels that are as implausible as wrong ones; own: probabilities of the given labels, (n,).

    The share is the smallest ratio at QUANTILES; its interval covers the 95 % intervals of all of them.
    """
    thresholds = np.array([planted.quantile(quantile) for quantile in QUANTILES])
    expected = planted.below(thresholds)
    counts = np.array([(own <= threshold).sum() for threshold in thresholds])
    share, low, high = wilson_interval(counts, np.full(len(counts), len(own)))
    ratios, lows, highs = (np.clip(each / expected, 0.0, 1.0) for each in (share, low, high))
    best = float(ratios.min())
    return EstimatedShare(best, min(best, float(lows.min())), max(best, float(highs.max())))


def error_probabilities(own: np.ndarray, planted: PlantedErrors, share: float) -> np.ndarray:
    """Return the probability that each given label is wrong, float64 (n,), falling with its probability `own` (n,).

    The local false discovery rate with labels for hypotheses: share · (density of planted) / (density of given labels)
    (B. Efron: Large-Scale Inference, 2010, section 2.2), by isotonic regression over quantiles of both.
    """
    if not len(own):
        return np.zeros(0)
    levels = np.linspace(0, 1, _BINS + 1)
    edges = np.unique(
        np.concatenate([[planted.quantile(level) for level in levels[1:-1]], np.quantile(own, levels[1:-1])])
    )
    bins = np.searchsorted(edges, own, side="left")
    given = np.bincount(bins, minlength=len(edges) + 1)
    wrong = np.diff(np.concatenate([[0.0], planted.below(edges), [1.0]])) * share * len(own)
    filled = given > 0
    # Mass of bins without given labels goes to the next bin with some.
    target = np.searchsorted(np.flatnonzero(filled), np.arange(len(given)))
    mass = np.bincount(np.minimum(target, filled.sum() - 1), wrong, filled.sum())
    # One more label in each bin, so that a single implausible label is not certainly wrong.
    rate = np.minimum(mass / (given[filled] + 1), 1.0)
    fitted = isotonic_regression(rate, weights=given[filled], increasing=False).x
    result: np.ndarray = fitted[(np.cumsum(filled) - 1)[bins]]
    return result
