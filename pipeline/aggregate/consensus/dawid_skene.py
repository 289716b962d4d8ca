"""Dawid and Skene: expectation maximization over one confusion matrix, or one coin, a worker.

A. P. Dawid, A. M. Skene: Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm. Applied
Statistics 28 (1979), 20-28. Y. Zhang, X. Chen, D. Zhou, M. I. Jordan: Spectral Methods Meet EM. JMLR 17 (2016):
the one-coin model, equation 3.
"""

import numpy as np
from scipy import sparse

from pipeline.aggregate.consensus import many_classes
from pipeline.aggregate.consensus.matrix import VoteMatrix
from pipeline.aggregate.consensus.posterior import Posterior, clamp, normalize, shares
from pipeline.aggregate.consensus.settings import Climb, Settings

FLOOR = 1e-10  # of a count or a probability, as in crowd-kit: what was never seen stays possible
MANY_CLASSES = 64  # with fewer, dense matrices are faster


def dawid_skene(votes: VoteMatrix, settings: Settings, gold: np.ndarray | None = None) -> Posterior:
    """A confusion matrix P(answer | class) for each worker and a prior over classes, from the shares of votes.

    An answer that names no class is one more column of the matrix: a worker who is unsure of wrong images alone
    tells by it. Each iteration is a product with a sparse matrix of V ones, (worker·answer) × items times the
    posterior (M, their equations 2.3 and 2.4), and one, items × (worker·answer), with log P (E, 2.5).
    """
    shape = (votes.n_workers, votes.n_answers, votes.classes)
    given = votes.by_cell()
    posterior = clamp(shares(votes), gold)
    many = votes.classes > MANY_CLASSES
    if many:
        posterior = sparse.csr_array(posterior)
    climb = Climb(len(votes.items), settings.tolerance)
    for _ in range(settings.max_iterations):
        prior = _prior(posterior)
        counts = votes.incidence_transposed @ posterior
        if many:
            possible = answers_of(given, settings.smoothing).sum(axis=1)
            posterior, evidence = many_classes.expect(
                votes, counts, FLOOR, settings.smoothing, possible, prior, gold
            )
        else:
            confusion = estimate(counts.reshape(shape), given, settings.smoothing)
            posterior, evidence = expect(votes, confusion, prior, gold)
        if climb.step(evidence):
            break
    if isinstance(posterior, sparse.csr_array):
        posterior = posterior.toarray()
        confusion = estimate(counts.toarray().reshape(shape), given, settings.smoothing)
    return Posterior(
        posterior,
        skill_of(confusion, prior),
        confusion=confusion.transpose(0, 2, 1),
        log_likelihood=tuple(climb.history),
        converged=climb.converged,
    )


def answers_of(given: np.ndarray, smoothing: float) -> np.ndarray:
    """Which answers of a worker are possible, bool (workers, answers), by how often each was given.

    Without smoothing, an answer that a worker never gave has probability 0, which no vote meets.
    """
    return (given > 0) | (smoothing > 0)


def estimate(counts: np.ndarray, given: np.ndarray, smoothing: float) -> np.ndarray:
    """P(answer | class), (workers, answers, classes), of the posterior's sums by worker, answer, and class."""
    confusion = np.maximum(counts + smoothing, FLOOR)
    confusion[~answers_of(given, smoothing)] = 0
    confusion /= np.maximum(confusion.sum(axis=1, keepdims=True), FLOOR)
    return confusion


def expect(
    votes: VoteMatrix, confusion: np.ndarray, prior: np.ndarray, gold: np.ndarray | None
) -> tuple[np.ndarray, float]:
    """The posterior (items, classes) and the sum of log evidence."""
    logs = np.log(confusion, out=np.zeros_like(confusion), where=confusion > 0)
    scores = votes.incidence @ logs.reshape(-1, votes.classes)
    scores += np.log(prior)
    return normalize(scores, gold)


def skill_of(confusion: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """The probability that an answer that names a class is right, (workers,)."""
    classes = len(prior)
    right = np.einsum("wcc,c->w", confusion[:, :classes], prior)
    named = np.einsum("wac,c->w", confusion[:, :classes], prior)
    return np.asarray(right / np.maximum(named, FLOOR))


def one_coin(votes: VoteMatrix, settings: Settings, gold: np.ndarray | None = None) -> Posterior:
    """One probability of naming the right class for each worker; the wrong ones are equally likely.

    How often a worker is unsure does not depend on the class in this model, so unsure votes cancel out.
    """
    posterior = clamp(shares(votes), gold)
    climb = Climb(len(votes.items), settings.tolerance)
    named = votes.by_worker(votes.names_class.astype(np.float64))
    for _ in range(settings.max_iterations):
        prior = _prior(posterior)
        right = votes.by_worker(votes.chosen(posterior)) + settings.smoothing
        skill = right / np.maximum(named + 2 * settings.smoothing, FLOOR)
        skill = np.clip(skill, FLOOR, 1 - FLOOR)
        wrong = np.log1p(-skill) - np.log(votes.classes - 1)
        scores = votes.tally((np.log(skill) - wrong)[votes.workers])
        scores += np.log(prior)
        posterior, evidence = normalize(scores, gold)
        if climb.step(evidence + float((named * wrong).sum())):
            break
    return Posterior(
        posterior,
        np.where(named > 0, skill, np.nan),
        log_likelihood=tuple(climb.history),
        converged=climb.converged,
    )


def _prior(posterior: np.ndarray) -> np.ndarray:
    """Share of each class (classes,), their equation 2.4."""
    return np.maximum(posterior.sum(axis=0) / max(posterior.shape[0], 1), FLOOR)
