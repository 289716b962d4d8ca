"""Dawid and Skene: expectation maximization with one confusion matrix, or one coin, per worker.

A. P. Dawid, A. M. Skene: Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm. Applied
Statistics 28 (1979), 20-28. Y. Zhang, X. Chen, D. Zhou, M. I. Jordan: Spectral Methods Meet EM. JMLR 17 (2016):
the one-coin model, equation 3.
"""

import numpy as np

from pipeline.aggregate.methods.convergence import ConvergenceMonitor, MethodSettings
from pipeline.aggregate.methods.posterior import Posterior, clamp_to_gold, normalize_scores, vote_shares
from pipeline.aggregate.methods.vote_matrix import VoteMatrix

FLOOR = 1e-10  # smallest count or probability, as in crowd-kit: an answer that was never seen stays possible


def dawid_skene(votes: VoteMatrix, settings: MethodSettings, gold: np.ndarray | None = None) -> Posterior:
    """Estimate a confusion matrix P(answer | class) per worker and a prior over classes; start from vote shares.

    An answer that names no class is one more column of the matrix, so a worker who is unsure about wrong images only
    gives information by it. An iteration is two sparse products: (worker·answer) × items with the posterior (M-step,
    equations 2.3 and 2.4), and items × (worker·answer) with log P (E-step, equation 2.5).
    """
    shape = (votes.n_workers, votes.n_answers, votes.classes)
    given = votes.by_cell()
    posterior = clamp_to_gold(vote_shares(votes), gold)
    monitor = ConvergenceMonitor(len(votes.items), settings.tolerance)
    for _ in range(settings.max_iterations):
        prior = _class_prior(posterior)
        counts = (votes.incidence_transposed @ posterior).reshape(shape)
        confusion = estimate_confusion(counts, given, settings.smoothing)
        posterior, evidence = expect_classes(votes, confusion, prior, gold)
        if monitor.update(evidence):
            break
    return Posterior(
        posterior,
        worker_skill(confusion, prior),
        confusion=confusion.transpose(0, 2, 1),
        log_likelihood=tuple(monitor.history),
        converged=monitor.converged,
    )


def estimate_confusion(counts: np.ndarray, given: np.ndarray, smoothing: float) -> np.ndarray:
    """M-step: return P(answer | class), (workers, answers, classes), from posterior sums of the same shape.

    `given` (workers, answers) counts the answers of each worker: without smoothing, an answer that a worker never gave
    has probability 0, which no vote meets.
    """
    confusion = np.maximum(counts + smoothing, FLOOR)
    confusion[~((given > 0) | (smoothing > 0))] = 0
    confusion /= np.maximum(confusion.sum(axis=1, keepdims=True), FLOOR)
    return confusion


def expect_classes(
    votes: VoteMatrix, confusion: np.ndarray, prior: np.ndarray, gold: np.ndarray | None
) -> tuple[np.ndarray, float]:
    """E-step: return the posterior (items, classes) and the log-likelihood of all votes."""
    logs = np.log(confusion, out=np.zeros_like(confusion), where=confusion > 0)
    scores = votes.incidence @ logs.reshape(-1, votes.classes)
    scores += np.log(prior)
    return normalize_scores(scores, gold)


def worker_skill(confusion: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Return the probability that an answer that names a class is right, (workers,)."""
    classes = len(prior)
    right = np.einsum("wcc,c->w", confusion[:, :classes], prior)
    named = np.einsum("wac,c->w", confusion[:, :classes], prior)
    return np.asarray(right / np.maximum(named, FLOOR))


def one_coin(votes: VoteMatrix, settings: MethodSettings, gold: np.ndarray | None = None) -> Posterior:
    """Estimate one probability per worker of naming the right class; the wrong classes are equally likely.

    How often a worker is unsure does not depend on the class in this model, so unsure votes cancel out.
    """
    posterior = clamp_to_gold(vote_shares(votes), gold)
    monitor = ConvergenceMonitor(len(votes.items), settings.tolerance)
    named = votes.by_worker(votes.names_class.astype(np.float64))
    for _ in range(settings.max_iterations):
        prior = _class_prior(posterior)
        right = votes.by_worker(votes.chosen(posterior)) + settings.smoothing
        skill = right / np.maximum(named + 2 * settings.smoothing, FLOOR)
        skill = np.clip(skill, FLOOR, 1 - FLOOR)
        wrong = np.log1p(-skill) - np.log(votes.classes - 1)
        scores = votes.tally((np.log(skill) - wrong)[votes.workers])
        scores += np.log(prior)
        posterior, evidence = normalize_scores(scores, gold)
        if monitor.update(evidence + float((named * wrong).sum())):
            break
    return Posterior(
        posterior,
        np.where(named > 0, skill, np.nan),
        log_likelihood=tuple(monitor.history),
        converged=monitor.converged,
    )


def _class_prior(posterior: np.ndarray) -> np.ndarray:
    """Return the share of each class, (classes,), equation 2.4."""
    return np.maximum(posterior.sum(axis=0) / max(posterior.shape[0], 1), FLOOR)
