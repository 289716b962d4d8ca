"""The result of an aggregation method, and the steps between votes, scores and probabilities that all methods share."""

from dataclasses import dataclass
from functools import reduce

import numpy as np

from pipeline.aggregate.methods.vote_matrix import VoteMatrix

UNKNOWN = -1  # in `gold`: the answer of this item is not known
UNDECIDED = -1
FEW_CLASSES = 8
TIE = 1e-9  # probabilities closer than this are equal, so the order of additions cannot break a tie


@dataclass(frozen=True)
class Posterior:
    """Result of an aggregation method.

    probabilities: float64 (items, classes), rows sum to 1: the soft labels. skill: float64 (workers,), the probability
    that an answer is right according to the method; NaN where undefined. confusion: float64 (workers, classes, answers),
    P(answer | class), Dawid-Skene only. difficulty: (items,), 1/β, higher is harder, GLAD only. log_likelihood: per vote,
    after each iteration. converged: False if max_iterations ended the iterations.
    """

    probabilities: np.ndarray
    skill: np.ndarray
    confusion: np.ndarray | None = None
    difficulty: np.ndarray | None = None
    log_likelihood: tuple[float, ...] = ()
    converged: bool = True

    def verdicts(self, min_confidence: float = 0.5) -> np.ndarray:
        """Return the most probable class, int64 (items,); UNDECIDED on a tie or with at most `min_confidence`."""
        best = self.probabilities.argmax(axis=1)
        top = reduce_classes(np.maximum, self.probabilities)
        tied = (self.probabilities >= top[:, None] - TIE).sum(axis=1) > 1
        return np.where(tied | (top <= min_confidence + TIE), UNDECIDED, best)


def vote_shares(votes: VoteMatrix, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the share of each class in an item's votes, float64 (items, classes), with worker `weights` (workers,).

    A vote that names no class is divided equally among all classes: it lowers the confidence and favors no class. Items
    without votes, or with a total weight of 0, get equal shares.
    """
    vote_weights = None if weights is None else weights[votes.workers]
    tally = votes.tally(vote_weights)
    total = votes.by_item(vote_weights)
    tally += ((total - tally.sum(axis=1)) / votes.classes)[:, None]
    return np.divide(
        tally, total[:, None], out=np.full_like(tally, 1 / votes.classes), where=total[:, None] > 0
    )


def clamp_to_gold(probabilities: np.ndarray, gold: np.ndarray | None) -> np.ndarray:
    """Set the rows of gold items to their known class, in place; `gold` int (items,), UNKNOWN for the others."""
    if gold is not None:
        items = np.flatnonzero(gold != UNKNOWN)
        probabilities[items] = 0
        probabilities[items, gold[items]] = 1
    return probabilities


def normalize_scores(scores: np.ndarray, gold: np.ndarray | None) -> tuple[np.ndarray, float]:
    """Turn log joint scores (items, classes) into (posterior clamped to gold, sum of the log evidence).

    Each row is shifted by its largest score, so that thousands of votes on an item do not underflow. `scores` is
    overwritten.
    """
    gold_items = np.flatnonzero(gold != UNKNOWN) if gold is not None else np.empty(0, np.int64)
    gold_scores = scores[gold_items, gold[gold_items]] if gold is not None else np.empty(0)
    top = reduce_classes(np.maximum, scores)[:, None]
    scores -= top
    np.exp(scores, out=scores)
    total = reduce_classes(np.add, scores)[:, None]
    evidence = (top + np.log(total))[:, 0]
    evidence[gold_items] = gold_scores
    scores /= total
    return clamp_to_gold(scores, gold), float(evidence.sum())


def reduce_classes(combine: np.ufunc, rows: np.ndarray) -> np.ndarray:
    """Combine the classes of each row, (n, classes) → (n,); column by column for few classes, which is faster."""
    if rows.shape[1] <= FEW_CLASSES:
        result: np.ndarray = reduce(combine, rows.T)
    else:
        result = combine.reduce(rows, axis=1)
    return result


def plurality(probabilities: np.ndarray) -> np.ndarray:
    """Return 1 for the class with the largest share and 1/t for each of t tied classes, float64 (items, classes)."""
    leads = (probabilities >= reduce_classes(np.maximum, probabilities)[:, None] - TIE).astype(np.float64)
    leads /= reduce_classes(np.add, leads)[:, None]
    return leads
