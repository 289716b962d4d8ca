"""The linear probe: ridge regression on frozen features, evaluated on images that it was not fitted to.

Ridge regression on one-hot labels has a closed form in sums over images, which are exact on the grid of `exact.py`. The
penalty and the temperature of the probabilities are chosen by the log loss of the given labels of held-out images, so
that neither needs to know how many labels are wrong.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_array

from pipeline.audit.exact import WEIGHT_GRID, with_constant

FOLDS = 5
UNLABELED = -1
PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # times the mean variance of a feature
CHOICE_ROWS = 20_000  # labeled images by which the penalty is chosen
_BLOCK_ROWS = 8192

Blocks = Callable[[], Iterable[np.ndarray]]
"""Yields the features of all images, float32 (rows, d) on the grid, block by block; called for each pass."""


@dataclass(frozen=True)
class Probe:
    """Fitted probes, one for each fold, which saw the labels of the other folds alone.

    weights: float64 (FOLDS, d + 1, classes), whose products with features are logits. penalty, temperature: as chosen.
    log_loss: of the given labels of held-out images, in nats.
    """

    weights: np.ndarray
    penalty: float
    temperature: float
    log_loss: float

    def probabilities(self, features: np.ndarray, folds: np.ndarray) -> np.ndarray:
        """Return the class probabilities of images, float64 (n, classes), each by the probe that did not see its fold."""
        return softmax(_scores(features, folds, self.weights))


def fit_probe(
    blocks: Blocks, labels: np.ndarray, folds: np.ndarray, order: np.ndarray, classes: int
) -> Probe:
    """Fit a probe for each fold.

    labels: int (n,), UNLABELED for images that are not to be learned from. folds: int (n,), below FOLDS; near-duplicates
    share a fold. order: uint64 (n,), keyed hashes of ids, which choose the images that decide the penalty. Raises ValueError
    if the labeled images are in fewer than two folds or of fewer than two classes.
    """
    labeled = labels != UNLABELED
    if len(np.unique(folds[labeled])) < 2 or len(np.unique(labels[labeled])) < 2:
        raise ValueError("a probe needs labeled images of two classes in two folds")
    chosen = np.flatnonzero(labeled)
    chosen = np.sort(chosen[np.argsort(order[chosen], kind="stable")[:CHOICE_ROWS]])
    squares, products, held_out = _sums(blocks, labels, folds, chosen, classes)
    best: tuple[float, float, float, np.ndarray] | None = None
    for penalty in PENALTIES:
        weights = _solve(squares, products, penalty)
        scores = _scores(held_out, folds[chosen], weights)
        temperature, loss = fit_temperature(scores, labels[chosen])
        if best is None or loss < best[0]:
            best = loss, penalty, temperature, weights
    assert best is not None
    loss, penalty, temperature, weights = best
    return Probe(weights * temperature, penalty, temperature, loss)


def _sums(
    blocks: Blocks, labels: np.ndarray, folds: np.ndarray, chosen: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the sums of squares (FOLDS, d + 1, d + 1) and of products with labels (FOLDS, d + 1, classes) of labeled
    images, and the features of the images `chosen`."""
    squares = products = np.zeros(0)
    kept, first = [], 0
    for block in tiles(blocks, _BLOCK_ROWS):
        rows = slice(first, first + len(block))
        first += len(block)
        if first > len(labels):
            break
        if not squares.size:
            squares = np.zeros((FOLDS, block.shape[1] + 1, block.shape[1] + 1))
            products = np.zeros((FOLDS, block.shape[1] + 1, classes))
        lo, hi = np.searchsorted(chosen, [rows.start, rows.stop])
        kept.append(block[chosen[lo:hi] - rows.start])
        for fold in range(FOLDS):
            mine = (folds[rows] == fold) & (labels[rows] != UNLABELED)
            features, own = with_constant(block[mine]), labels[rows][mine]
            squares[fold] += features.T @ features
            one_hot = csr_array((np.ones(len(own)), (own, np.arange(len(own)))), (classes, len(own)))
            products[fold] += (one_hot @ features).T
    if first != len(labels):
        raise ValueError(f"there are features of another number of images than {len(labels)}")
    return squares, products, np.concatenate(kept)


def tiles(blocks: Blocks, rows: int) -> Iterator[np.ndarray]:
    """Yield the rows of all blocks in tiles of at most `rows`."""
    for block in blocks():
        for start in range(0, len(block), rows):
            yield block[start : start + rows]


def _solve(squares: np.ndarray, products: np.ndarray, penalty: float) -> np.ndarray:
    """Return the ridge weights of each fold's probe, rounded, so that the rounding errors of the solver leave no trace."""
    size = squares.shape[1]
    weights = np.empty_like(products)
    for fold in range(FOLDS):
        matrix = squares.sum(axis=0) - squares[fold]
        ridge = max(penalty * np.trace(matrix) / size, 1e-9)
        factor = cho_factor(matrix + ridge * np.eye(size), lower=True)
        weights[fold] = cho_solve(factor, products.sum(axis=0) - products[fold])
    result: np.ndarray = np.rint(weights * WEIGHT_GRID) / WEIGHT_GRID
    return result


def _scores(features: np.ndarray, folds: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return scores, float64 (n, classes), of each image by the weights of its fold."""
    scores = np.empty((len(features), weights.shape[2]))
    for fold in range(FOLDS):
        mine = folds == fold
        scores[mine] = with_constant(features[mine]) @ weights[fold]
    return scores


def fit_temperature(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return the factor for scores (n, classes) with the lowest log loss of labels (n,), and that loss.

    C. Guo et al.: On Calibration of Modern Neural Networks (ICML 2017), section 4.2, with 1/T for T.
    """
    own = np.arange(len(labels)), labels

    def loss(log_factor: float) -> float:
        logits = np.exp(log_factor) * scores
        logits -= logits.max(axis=1, keepdims=True)
        return float((np.log(np.exp(logits).sum(axis=1)) - logits[own]).mean())

    found = minimize_scalar(loss, bounds=(-3.0, 7.0), method="bounded", options={"xatol": 1e-4})
    factor = round(float(np.exp(found.x)), 3)
    return factor, loss(np.log(factor))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of logits (n, classes)."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: np.ndarray = shifted / shifted.sum(axis=1, keepdims=True)
    return result
