"""What a consensus method returns, and the steps between scores and probabilities that all of them share."""

from dataclasses import dataclass
from functools import reduce

import numpy as np

from pipeline.aggregate.methods.vote_matrix import VoteMatrix

UNKNOWN = -1  # in `gold`: the answer of this item is not known
UNDECIDED = -1
FEW_CLASSES = 8
TIE = 1e-9  # probabilities nearer than this are equal: sums in another order must not break a tie


@dataclass(frozen=True)
class Posterior:
    """What the votes say, by one method.

    `probabilities` float64 (items, classes), rows sum to 1: the soft labels. `skill` float64 (workers,): the
    probability, as the method sees it, that an answer is right (NaN where it sees none). `confusion` float64
    (workers, classes, answers), Dawid-Skene alone: P(answer | class). `difficulty` (items,), GLAD alone:
    1/β, higher is harder. `log_likelihood` of the votes after each iteration, per vote; `converged` is False if
    the iterations ran out first.
    """

    probabilities: np.ndarray
    skill: np.ndarray
    confusion: np.ndarray | None = None
    difficulty: np.ndarray | None = None
    log_likelihood: tuple[float, ...] = ()
    converged: bool = True

    def verdicts(self, min_confidence: float = 0.5) -> np.ndarray:
        """The most probable class, int64 (items,); UNDECIDED on a tie or with at most `min_confidence`."""
        best = self.probabilities.argmax(axis=1)
        top = reduce_classes(np.maximum, self.probabilities)
        tied = (self.probabilities >= top[:, None] - TIE).sum(axis=1) > 1
        return np.where(tied | (top <= min_confidence + TIE), UNDECIDED, best)


def vote_shares(votes: VoteMatrix, weights: np.ndarray | None = None) -> np.ndarray:
    """Share of each class in an item's votes, float64 (items, classes), each worker weighing weights (workers,).

    A vote that names no class is divided equally among all: it lowers the confidence and sways nothing. So are
    items without votes, or of no weight.
    """
    each = None if weights is None else weights[votes.workers]
    tally = votes.tally(each)
    total = votes.by_item(each)
    tally += ((total - tally.sum(axis=1)) / votes.classes)[:, None]
    return np.divide(
        tally, total[:, None], out=np.full_like(tally, 1 / votes.classes), where=total[:, None] > 0
    )


def clamp_to_gold(probabilities: np.ndarray, gold: np.ndarray | None) -> np.ndarray:
    """Set the rows of items with a known answer to it, in place; `gold` int (items,), UNKNOWN where not known."""
    if gold is not None:
        known = np.flatnonzero(gold != UNKNOWN)
        probabilities[known] = 0
        probabilities[known, gold[known]] = 1
    return probabilities


def normalize_scores(scores: np.ndarray, gold: np.ndarray | None) -> tuple[np.ndarray, float]:
    """Log joint scores (items, classes) → (posterior, its rows clamped to gold; sum of log evidence).

    Shifted by the row's largest score, so that thousands of votes on an item do not underflow. `scores` is
    overwritten.
    """
    known = np.flatnonzero(gold != UNKNOWN) if gold is not None else np.empty(0, np.int64)
    told = scores[known, gold[known]] if gold is not None else np.empty(0)
    top = reduce_classes(np.maximum, scores)[:, None]
    scores -= top
    np.exp(scores, out=scores)
    total = reduce_classes(np.add, scores)[:, None]
    evidence = (top + np.log(total))[:, 0]
    evidence[known] = told
    scores /= total
    return clamp_to_gold(scores, gold), float(evidence.sum())


def reduce_classes(combine: np.ufunc, rows: np.ndarray) -> np.ndarray:
    """Combine the classes of each row, (n, classes) → (n,): by columns where these are few, which is faster."""
    if rows.shape[1] <= FEW_CLASSES:
        result: np.ndarray = reduce(combine, rows.T)
    else:
        result = combine.reduce(rows, axis=1)
    return result


def plurality(probabilities: np.ndarray) -> np.ndarray:
    """1 for the class with the largest share, 1/t for each of t tied ones, float64 (items, classes)."""
    leads = (probabilities >= reduce_classes(np.maximum, probabilities)[:, None] - TIE).astype(np.float64)
    leads /= reduce_classes(np.add, leads)[:, None]
    return leads
