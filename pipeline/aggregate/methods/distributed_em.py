"""Dawid-Skene in passes over buckets of votes: each fits in memory, all together need not.

An iteration of EM needs of the votes nothing but sums: by worker, answer and class, and by class. A bucket gives its
own (the E-step of its questions), and from all of them comes the next estimate (the M-step). Buckets are always added
up in the same order, so that no rounding depends on who worked on them, or when.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.aggregate.methods.dawid_skene import FLOOR, estimate_confusion, expect_classes, worker_skill
from pipeline.aggregate.methods.posterior import clamp_to_gold, vote_shares
from pipeline.aggregate.methods.vote_matrix import VoteMatrix


@dataclass(frozen=True)
class ExpectedCounts:
    """What the posteriors of some questions tell the next estimate.

    `workers` are names (w,), sorted, `counts` float64 (w, answers, classes) the posteriors of the questions on which a
    worker gave an answer, `classes` float64 (classes,) those of all questions, `items` their number.
    `evidence` is the log-likelihood of the votes under the model that gave the posteriors, 0 where none did.
    """

    workers: np.ndarray
    counts: np.ndarray
    classes: np.ndarray
    items: int
    evidence: float = 0.0


@dataclass(frozen=True)
class DawidSkeneModel:
    """What is estimated from the sums of all buckets: their P(answer | class), and the share of each class."""

    sums: ExpectedCounts
    smoothing: float

    @cached_property
    def confusion(self) -> np.ndarray:
        """P(answer | class), float64 (workers, answers, classes)."""
        # Posteriors sum to 1, so a worker's sum over classes is above 0 where an answer was given.
        return estimate_confusion(self.sums.counts, self.sums.counts.sum(axis=2), self.smoothing)

    @cached_property
    def prior(self) -> np.ndarray:
        """Share of each class, float64 (classes,)."""
        return np.maximum(self.sums.classes / max(self.sums.items, 1), FLOOR)

    def posterior(
        self, votes: VoteMatrix, workers: np.ndarray, known: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """The E-step for a bucket, whose workers have the names `workers`: (posterior, log-likelihood)."""
        places = np.searchsorted(self.sums.workers, workers)
        return expect_classes(votes, self.confusion[places], self.prior, known)

    def skill(self) -> dict[str, float]:
        """The probability that a worker's answer is right, where it is known, by name."""
        found = worker_skill(self.confusion, self.prior)
        return {
            str(name): float(skill)
            for name, skill in zip(self.sums.workers, found, strict=True)
            if not np.isnan(skill)
        }


def initial_posterior(votes: VoteMatrix, known: np.ndarray) -> np.ndarray:
    """Where the iterations begin: the shares of votes."""
    return clamp_to_gold(vote_shares(votes), known)


def expected_counts(
    votes: VoteMatrix, workers: np.ndarray, posterior: np.ndarray, evidence: float = 0.0
) -> ExpectedCounts:
    """The sums of a bucket with the posterior (items, classes)."""
    shape = (votes.n_workers, votes.n_answers, votes.classes)
    counts = (votes.incidence_transposed @ posterior).reshape(shape)
    return ExpectedCounts(workers, counts, posterior.sum(axis=0), votes.n_items, evidence)


def add_counts(parts: Iterable[tuple[int, ExpectedCounts]]) -> tuple[int, ExpectedCounts]:
    """The sums of one part or more together, each with a number that says when its turn is; the lowest of these."""
    ordered = sorted(parts, key=lambda part: part[0])
    sums = [part for _, part in ordered]
    workers = np.unique(np.concatenate([part.workers for part in sums]))
    counts = np.zeros((len(workers), *sums[0].counts.shape[1:]))
    for part in sums:
        counts[np.searchsorted(workers, part.workers)] += part.counts
    return ordered[0][0], ExpectedCounts(
        workers,
        counts,
        np.sum([part.classes for part in sums], axis=0),
        sum(part.items for part in sums),
        sum(part.evidence for part in sums),
    )
