"""Simulated answers of workers with known skill, and what agreement measures of them converge to."""

import numpy as np

from pipeline.aggregate.methods.vote_matrix import VoteMatrix


def asked(rng: np.random.Generator, skill: np.ndarray, prior: np.ndarray, items: int) -> VoteMatrix:
    """Three votes on each item, by workers drawn at random."""
    answers = len(prior)
    truth = rng.choice(answers, items, p=prior)
    workers = rng.random((items, len(skill))).argsort(axis=1)[:, :3].ravel()
    item = np.repeat(np.arange(items), 3)
    right = rng.random(3 * items) < skill[workers]
    other = (truth[item] + rng.integers(1, answers, 3 * items)) % answers
    return VoteMatrix.of(
        item, workers, np.where(right, truth[item], other), answers, answers, items, len(skill)
    )


def patterns(votes: VoteMatrix) -> tuple[np.ndarray, np.ndarray]:
    counts = np.zeros((votes.n_items, votes.n_answers), np.int64)
    np.add.at(counts, (votes.items, votes.answers), 1)
    return np.unique(counts, axis=0, return_counts=True)


def population(skill: np.ndarray, prior: np.ndarray) -> float:
    """The mean of Cohen's kappas of workers who give the right one of the answers with probability `skill`."""
    answers = len(prior)
    wrong = (1 - skill) / (answers - 1)
    given = np.where(np.eye(answers, dtype=bool), skill[:, None, None], wrong[:, None, None])
    agreement = np.einsum("t,atk,btk->ab", prior, given, given)
    shares = np.einsum("t,atk->ak", prior, given)
    chance = shares @ shares.T
    pairs = np.triu_indices(len(skill), 1)
    return float(((agreement - chance) / (1 - chance))[pairs].mean())
