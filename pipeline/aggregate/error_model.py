"""The probability that an image shows a class, from all votes on the image, with the uncertainty of that probability.

A verdict by majority has no probability of its own. This model estimates one: a latent-class model of the votes
(vote_likelihood.py) is fitted to a sample of images, its prior is shifted for each class, and gold questions, where
there are some, calibrate it. The uncertainty of all three is carried by DRAWS draws from their posterior (Laplace
approximation), which are the same for every question.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from pipeline.aggregate.methods.posterior import UNKNOWN
from pipeline.aggregate.vote_likelihood import ImageVotes, VoteKind, priors, shown_probabilities

DRAWS = 64
BINS = 100  # p_wrong is grouped by 1/BINS where its uncertainty is looked up
# The model is not exact, so more images than this do not make its parameters more certain. J. Miller, D. Dunson: Robust
# Bayesian Inference via Coarsening (2019), section 2: the likelihood to the power of 1 / (1 + images / COARSENING).
COARSENING = 1000
CLASS_DEVIATION = 0.4  # prior standard deviation of the log odds of a class
# Prior of the calibration logit(p) → shift + slope · logit(p). It acts only where gold questions are given.
CALIBRATION_MEAN = np.array([0.0, 1.0])
CALIBRATION_DEVIATION = np.array([1.0, 0.4])
_STEP = 1e-4
_LIMITS = 1e-6, 1 - 1e-6
YES_CODE = 0


@dataclass(frozen=True)
class ErrorModel:
    """A fitted model.

    kind: of the votes of the sample. parameters: of the likelihood, float64 (p,). class_shifts: log odds of each class, float64 (classes,). calibration: shift
    and slope. The draws have one more leading axis of DRAWS. gold: number of gold questions it was calibrated with.
    """

    kind: VoteKind
    parameters: np.ndarray
    class_shifts: np.ndarray
    calibration: np.ndarray
    parameter_draws: np.ndarray
    class_draws: np.ndarray
    calibration_draws: np.ndarray
    gold: int

    def p_wrong(self, votes: ImageVotes, classes: np.ndarray, gold: np.ndarray) -> np.ndarray:
        """Return the probability that the image does not show the class, float64 (n,), rounded to six digits.

        votes: with the `kind` of the model. classes: int (n,), class ids of the questions. gold: int (n,), known answers as in `gold_codes`, which give 0 or 1.
        """
        shown = self._shown(votes, classes, self.parameters, self.class_shifts, self.calibration)
        return np.where(gold == UNKNOWN, np.round(1 - shown, 6), (gold != YES_CODE).astype(float))

    def draws(self, votes: ImageVotes, classes: np.ndarray) -> np.ndarray:
        """Return `p_wrong` under each draw, without gold, float64 (n, DRAWS)."""
        drawn = zip(self.parameter_draws, self.class_draws, self.calibration_draws, strict=True)
        return np.stack([1 - self._shown(votes, classes, *parts) for parts in drawn], axis=1)

    def _shown(
        self,
        votes: ImageVotes,
        classes: np.ndarray,
        parameters: np.ndarray,
        shifts: np.ndarray,
        calibration: np.ndarray,
    ) -> np.ndarray:
        log_odds = _log_odds(shown_probabilities(parameters, votes)[1]) + shifts[classes]
        return expit(calibration[0] + calibration[1] * log_odds)


def fit(votes: ImageVotes, classes: np.ndarray, gold: np.ndarray) -> ErrorModel:
    """Fit the model to a sample of images; `classes` and `gold` as in `ErrorModel.p_wrong`."""
    random = np.random.Generator(np.random.Philox(key=1))
    parameters, root = _fit_likelihood(votes.distinct())
    parameter_draws = parameters + random.standard_normal((DRAWS, len(parameters))) @ root.T
    _, shown, before = shown_probabilities(parameters, votes)
    if votes.kind.choices:
        # Workers decide what is asked, so there is no share before the votes to compare with.
        shifts, deviations = np.zeros(votes.classes), np.full(votes.classes, CLASS_DEVIATION)
    else:
        shifts, deviations = _fit_class_shifts(_log_odds(shown), _log_odds(before), classes, votes.classes)
    class_draws = shifts + deviations * random.standard_normal((DRAWS, votes.classes))
    known = np.flatnonzero(gold != UNKNOWN)
    calibration, calibration_root = CALIBRATION_MEAN, np.zeros((2, 2))
    if len(known):
        log_odds = _log_odds(shown)[known] + shifts[classes[known]]
        calibration, calibration_root = _calibrate(log_odds, gold[known] == YES_CODE)
        # Gold says how far the fitted probabilities are off, whatever the reason, so it replaces the other uncertainty.
        parameter_draws = np.tile(parameters, (DRAWS, 1))
        log_odds = calibration[0] + calibration[1] * log_odds
        shown_in_class = _shifts(log_odds, gold[known] == YES_CODE, classes[known], votes.classes)
        shifts, deviations = shifts + shown_in_class[0] / calibration[1], shown_in_class[1] / calibration[1]
        class_draws = shifts + deviations * random.standard_normal((DRAWS, votes.classes))
    calibration_draws = calibration + random.standard_normal((DRAWS, 2)) @ calibration_root.T
    return ErrorModel(
        votes.kind,
        parameters,
        shifts,
        calibration,
        parameter_draws,
        class_draws,
        calibration_draws,
        len(known),
    )


def _log_odds(p: np.ndarray) -> np.ndarray:
    result: np.ndarray = logit(np.clip(p, *_LIMITS))
    return result


def _fit_likelihood(votes: ImageVotes) -> tuple[np.ndarray, np.ndarray]:
    """Return the most probable parameters, and a root of their covariance (Laplace approximation)."""
    mean, deviation = priors(votes)
    power = 1 / (1 + votes.weights.sum() / COARSENING)

    def loss(parameters: np.ndarray) -> float:
        fit = power * float(votes.weights @ shown_probabilities(parameters, votes)[0])
        return float((((parameters - mean) / deviation) ** 2).sum() / 2 - fit)

    steps = np.eye(len(mean)) * _STEP

    def gradient(parameters: np.ndarray) -> np.ndarray:
        return np.array([loss(parameters + e) - loss(parameters - e) for e in steps]) / (2 * _STEP)

    found = minimize(loss, mean, jac=gradient, method="L-BFGS-B", options={"maxiter": 200})
    wide = steps * 100
    hessian = np.array([gradient(found.x + e) - gradient(found.x - e) for e in wide]) / (2 * 100 * _STEP)
    values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    # No direction is less certain than the widest prior.
    values = np.maximum(values, 1 / deviation.max() ** 2)
    return found.x, vectors / np.sqrt(values)


def _fit_class_shifts(
    log_odds: np.ndarray, before: np.ndarray, labels: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the log odds by which each class is shown more often than the model says, and their deviations, (classes,).

    Newton steps to the shift at which the expected number of images that show the class, after and before the votes, agree.
    """
    shift = np.zeros(classes)
    for _ in range(30):
        after, prior = expit(log_odds + shift[labels]), expit(before + shift[labels])
        surplus = np.bincount(labels, after - prior, classes) - shift / CLASS_DEVIATION**2
        spread = np.bincount(labels, prior * (1 - prior) - after * (1 - after), classes)
        curvature = np.maximum(spread, 0) + 1 / CLASS_DEVIATION**2
        shift = shift + np.clip(surplus / curvature, -1, 1)
    return shift, 1 / np.sqrt(curvature)


def _shifts(
    log_odds: np.ndarray, shown: np.ndarray, labels: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the log odds by which gold questions of each class are yes more often than `log_odds` say, and deviations."""
    shift = np.zeros(classes)
    for _ in range(30):
        p = expit(log_odds + shift[labels])
        surplus = np.bincount(labels, shown - p, classes) - shift / CLASS_DEVIATION**2
        curvature = np.bincount(labels, p * (1 - p), classes) + 1 / CLASS_DEVIATION**2
        shift = shift + np.clip(surplus / curvature, -1, 1)
    return shift, 1 / np.sqrt(curvature)


def _calibrate(log_odds: np.ndarray, shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit shift and slope of a logistic calibration to gold questions; return them and a root of their covariance.

    J. Platt: Probabilistic Outputs for Support Vector Machines (1999), with a normal prior around no change.
    """
    design = np.stack([np.ones_like(log_odds), log_odds], axis=1)
    precision = np.diag(CALIBRATION_DEVIATION**-2)
    found = CALIBRATION_MEAN
    for _ in range(50):
        p = expit(design @ found)
        slope = design.T @ (shown - p) - precision @ (found - CALIBRATION_MEAN)
        hessian = (design * (p * (1 - p))[:, None]).T @ design + precision
        found = found + np.clip(np.linalg.solve(hessian, slope), -0.5, 0.5)
    values, vectors = np.linalg.eigh(hessian)
    return found, vectors / np.sqrt(values)
