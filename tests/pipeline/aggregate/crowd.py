"""Simulated workers with known truth."""

from dataclasses import dataclass

import numpy as np

from pipeline.aggregate.methods.vote_matrix import VoteMatrix


@dataclass(frozen=True)
class Crowd:
    votes: VoteMatrix
    truth: np.ndarray  # class of each item

    def accuracy(self, verdicts: np.ndarray) -> float:
        """Undecided items count as wrong."""
        return float((verdicts == self.truth).mean())


def confusion(kind: str, classes: int, rng: np.random.Generator) -> np.ndarray:
    """P(answer | class), (classes, classes), of one worker."""
    right = {"skilled": 0.9, "careless": 0.65, "adversarial": 0.15}.get(kind)
    if right is not None:
        return np.full((classes, classes), (1 - right) / (classes - 1)) + np.eye(classes) * (
            right - (1 - right) / (classes - 1)
        )
    if kind == "spammer":  # answers by habit, whatever is shown
        return np.tile(rng.dirichlet(np.full(classes, 0.5)), (classes, 1))
    assert kind == "biased"  # does not tell the last class from the first
    matrix = confusion("skilled", classes, rng)
    matrix[-1] = matrix[0]
    return matrix


def crowd(
    seed: int,
    kinds: dict[str, int],
    items: int = 400,
    votes_each: int = 5,
    classes: int = 2,
    difficulty: bool = False,
) -> Crowd:
    """`kinds` says how many workers of each kind there are; each item is answered by `votes_each` of them.

    With `difficulty`, items differ: on some all workers are at chance, on others better than their skill.
    """
    rng = np.random.default_rng(seed)
    names = [kind for kind, count in kinds.items() for _ in range(count)]
    matrices = np.stack([confusion(kind, classes, rng) for kind in names])
    truth = rng.integers(0, classes, items)
    item = np.repeat(np.arange(items), votes_each)
    worker = np.concatenate([rng.choice(len(names), votes_each, replace=False) for _ in range(items)])
    chances = matrices[worker, truth[item]]
    if difficulty:
        ease = np.exp(rng.normal(0.0, 1.0, items))[item]
        right = chances[np.arange(len(item)), truth[item]]
        margin = np.log(right / (1 - right)) * ease
        right = 1 / (1 + np.exp(-margin))
        chances = np.repeat(((1 - right) / (classes - 1))[:, None], classes, axis=1)
        chances[np.arange(len(item)), truth[item]] = right
    draws = rng.random((len(item), 1))
    answers = np.minimum((draws > np.cumsum(chances, axis=1)).sum(axis=1), classes - 1)
    votes = VoteMatrix.of(item, worker, answers, classes, n_items=items, n_workers=len(names))
    return Crowd(votes, truth)


def random_votes(
    seed: int, items: int = 30, workers: int = 8, classes: int = 3, unsure: bool = False, share: float = 0.5
) -> VoteMatrix:
    """Votes around a hidden truth, each worker answering a share of the items; perhaps with unsure answers."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, items)
    skill = rng.uniform(0.3, 0.95, workers)
    asked = rng.random((items, workers)) < share
    asked[np.arange(items), rng.integers(0, workers, items)] = True
    asked[0] = True  # every worker answers something
    item, worker = np.nonzero(asked)
    right = rng.random(len(item)) < skill[worker]
    answer = np.where(right, truth[item], rng.integers(0, classes, len(item)))
    if unsure:
        answer = np.where(rng.random(len(item)) < 0.15, classes, answer)
    return VoteMatrix.of(item, worker, answer, classes, classes + unsure, items, workers)
