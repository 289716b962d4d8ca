"""Dawid and Skene: expectation maximisation over one confusion matrix, or one coin, a worker.

A. P. Dawid, A. M. Skene: Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm. Applied
Statistics 28 (1979), 20-28. Y. Zhang, X. Chen, D. Zhou, M. I. Jordan: Spectral Methods Meet EM. JMLR 17 (2016):
the one-coin model, equation 3.
"""

import numpy as np

from pipeline.labels.consensus.matrix import VoteMatrix
from pipeline.labels.consensus.posterior import Posterior, clamp, normalise, shares
from pipeline.labels.consensus.settings import Climb, Settings

FLOOR = 1e-10  # of a count or a probability, as in crowd-kit: what was never seen stays possible


def dawid_skene(votes: VoteMatrix, settings: Settings, gold: np.ndarray | None = None) -> Posterior:
    """A confusion matrix P(answer | class) for each worker and a prior over classes, from the shares of votes.

    An answer that names no class is one more column of the matrix: a worker who is unsure of wrong images alone
    tells by it. Each iteration is two products with a sparse matrix of V ones: (worker·answer) × items times the
    posterior (M, their equations 2.3 and 2.4), items × (worker·answer) times log P (E, 2.5).
    """
    posterior = clamp(shares(votes), gold)
    climb = Climb(len(votes.items), settings.tolerance)
    shape = (votes.n_workers, votes.n_answers, votes.classes)
    # Without smoothing, an answer that a worker never gave has probability 0, which no vote meets.
    never = np.nonzero((votes.by_cell() == 0) & (settings.smoothing == 0))
    logs = np.empty(shape)  # with a hundred classes, new memory costs more than the arithmetic
    for _ in range(settings.max_iterations):
        prior = _prior(posterior)
        confusion = (votes.incidence_transposed @ posterior).reshape(shape)  # (workers, answers, classes)
        confusion += settings.smoothing
        np.maximum(confusion, FLOOR, out=confusion)
        confusion[never] = 0
        confusion /= np.maximum(confusion.sum(axis=1, keepdims=True), FLOOR)
        confusion[never] = 1
        np.log(confusion, out=logs)
        confusion[never] = 0
        scores = votes.incidence @ logs.reshape(-1, votes.classes)
        scores += np.log(prior)
        posterior, evidence = normalise(scores, gold)
        if climb.step(evidence):
            break
    right = np.einsum("wcc,c->w", confusion[:, : votes.classes], prior)
    named = np.einsum("wac,c->w", confusion[:, : votes.classes], prior)  # how often the worker names a class
    return Posterior(
        posterior,
        right / np.maximum(named, FLOOR),
        confusion=confusion.transpose(0, 2, 1),
        log_likelihood=tuple(climb.history),
        converged=climb.converged,
    )


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
        posterior, evidence = normalise(scores, gold)
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
    return np.maximum(posterior.sum(axis=0) / max(len(posterior), 1), FLOOR)
