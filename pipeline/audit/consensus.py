"""Combine what votes and probe say about the question "Does this image show this class?".

Given the truth, votes and features are taken as independent: log odds = log odds of the votes + log odds of the probe −
log odds of the share of yes among all questions. The log odds of the probe are a line in its logit. The line is fitted
by EM, because the truth that it has to predict is known only by the votes.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

_MAX_STEPS, _TOLERANCE = 200, 1e-5
_LEAST = 1e-6  # probabilities are kept this far from 0 and 1


@dataclass(frozen=True)
class Consensus:
    """P(image shows class) for n questions, float64 (n,): by the calibrated probe, and by votes and probe together.

    intercept, slope: of the line from the probe's logit to its calibrated log odds.
    """

    model: np.ndarray
    combined: np.ndarray
    intercept: float
    slope: float


def combine(votes: np.ndarray, probabilities: np.ndarray) -> Consensus:
    """Combine P(yes) by the votes (n,) and the probe's probability of the class, held out, (n,).

    The line maximizes Σ log(s·P(votes | yes) + (1 − s)·P(votes | no)), s being the calibrated probability of the probe.
    """
    votes = np.clip(votes, _LEAST, 1 - _LEAST)
    evidence = logit(votes) - logit(votes.mean())
    margins = logit(np.clip(probabilities, _LEAST, 1 - _LEAST))
    posterior, line = votes, np.array([logit(votes.mean()), 1.0])
    for _ in range(_MAX_STEPS):
        line = _fit_line(margins, posterior, line)
        before, posterior = posterior, expit(line[0] + line[1] * margins + evidence)
        if np.abs(posterior - before).max() < _TOLERANCE:
            break
    model = expit(line[0] + line[1] * margins)
    return Consensus(model, posterior, float(line[0]), float(line[1]))


def votes_from_patterns(counts: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return P(yes) by the votes alone, float64 (n,), where the aggregation gives none, learned from the probe.

    counts: int (n, 3), the yes, no and unsure votes. Every distinct row of counts is a kind of evidence, whose
    likelihoods given yes and no are fitted by EM with the line of `combine`, starting from the share of yes votes.
    """
    _, pattern = np.unique(counts, axis=0, return_inverse=True)
    pattern = pattern.ravel()
    margins = logit(np.clip(probabilities, _LEAST, 1 - _LEAST))
    posterior = (counts[:, 0] + counts[:, 2] / 2 + 1) / (counts.sum(axis=1) + 2)
    line = np.array([0.0, 1.0])
    sizes = np.bincount(pattern)
    odds = np.zeros(len(sizes))
    for _ in range(_MAX_STEPS):
        yes = np.bincount(pattern, posterior)
        odds = np.log((yes + 0.5) / (yes.sum() + 0.5 * len(yes))) - np.log(
            (sizes - yes + 0.5) / ((sizes - yes).sum() + 0.5 * len(yes))
        )
        line = _fit_line(margins, posterior, line)
        before, posterior = posterior, expit(line[0] + line[1] * margins + odds[pattern])
        if np.abs(posterior - before).max() < _TOLERANCE:
            break
    result: np.ndarray = expit(odds[pattern] + logit(np.clip(posterior.mean(), _LEAST, 1 - _LEAST)))
    return result


def _fit_line(margins: np.ndarray, target: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return intercept and slope (0 or more) of the logistic regression of probabilities `target` (n,) on `margins` (n,)."""

    def loss(line: np.ndarray) -> tuple[float, np.ndarray]:
        odds = line[0] + line[1] * margins
        error = expit(odds) - target
        value = (np.logaddexp(0, odds) - target * odds).mean()
        return float(value), np.array([error.mean(), (error * margins).mean()])

    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(None, None), (0, None)])
    result: np.ndarray = np.round(found.x, 6)
    return result
