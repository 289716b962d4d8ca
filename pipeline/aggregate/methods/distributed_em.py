"""Dawid-Skene over buckets of votes, for more votes than fit in the memory of one process.

An EM iteration needs only the expected counts of the votes: by worker, answer and class, and by class. Each bucket gives
its own (the E-step of its questions); their sum gives the next estimate (the M-step). Buckets are always added in the
same order, so floating-point rounding does not depend on the runner.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.aggregate.methods.dawid_skene import FLOOR, estimate_confusion, expect_classes, worker_skill
from pipeline.aggregate.methods.posterior import clamp_to_gold, vote_shares
from pipeline.aggregate.methods.vote_matrix import VoteMatrix


@dataclass(frozen=True)
class ExpectedCounts:
    """Sums of posteriors over some questions: the sufficient statistics of the next M-step.

    workers: names (w,), sorted. counts: float64 (w, answers, classes), posteriors of the questions on which a worker gave
    an answer. classes: float64 (classes,), posteriors of all questions. items: number of questions. log_likelihood: of the
    votes under the model that gave the posteriors; 0 for the initial posteriors.
    """

    workers: np.ndarray
    counts: np.ndarray
    classes: np.ndarray
    items: int
    log_likelihood: float = 0.0


@dataclass(frozen=True)
class DawidSkeneModel:
    """The M-step: P(answer | class) per worker and the class prior, from the expected counts of all buckets."""

    expected: ExpectedCounts
    smoothing: float

    @cached_property
    def confusion(self) -> np.ndarray:
        """P(answer | class), float64 (workers, answers, classes)."""
        # Posteriors sum to 1, so the sum over classes is positive for each answer that a worker gave.
        given = self.expected.counts.sum(axis=2)
        return estimate_confusion(self.expected.counts, given, self.smoothing)

    @cached_property
    def prior(self) -> np.ndarray:
        """Share of each class, float64 (classes,)."""
        return np.maximum(self.expected.classes / max(self.expected.items, 1), FLOOR)

    def posterior(self, votes: VoteMatrix, workers: np.ndarray, gold: np.ndarray) -> tuple[np.ndarray, float]:
        """E-step of a bucket whose workers have the names `workers`: return (posterior, log-likelihood)."""
        indices = np.searchsorted(self.expected.workers, workers)
        return expect_classes(votes, self.confusion[indices], self.prior, gold)

    def skill(self) -> dict[str, float]:
        """Return the probability that a worker's answer is right, by name, for workers where it is defined."""
        skills = worker_skill(self.confusion, self.prior)
        return {
            str(name): float(skill)
            for name, skill in zip(self.expected.workers, skills, strict=True)
            if not np.isnan(skill)
        }


def initial_posterior(votes: VoteMatrix, gold: np.ndarray) -> np.ndarray:
    """Return the posterior before the first iteration: vote shares, with gold questions clamped."""
    return clamp_to_gold(vote_shares(votes), gold)


def expected_counts(
    votes: VoteMatrix, workers: np.ndarray, posterior: np.ndarray, log_likelihood: float = 0.0
) -> ExpectedCounts:
    """Return the expected counts of a bucket with the posterior (items, classes)."""
    shape = (votes.n_workers, votes.n_answers, votes.classes)
    counts = (votes.incidence_transposed @ posterior).reshape(shape)
    return ExpectedCounts(workers, counts, posterior.sum(axis=0), votes.n_items, log_likelihood)


def add_counts(parts: Sequence[ExpectedCounts]) -> ExpectedCounts:
    """Add expected counts in the order given, which decides the rounding."""
    workers = np.unique(np.concatenate([part.workers for part in parts]))
    counts = np.zeros((len(workers), *parts[0].counts.shape[1:]))
    for part in parts:
        counts[np.searchsorted(workers, part.workers)] += part.counts
    return ExpectedCounts(
        workers,
        counts,
        np.sum([part.classes for part in parts], axis=0),
        sum(part.items for part in parts),
        sum(part.log_likelihood for part in parts),
    )
