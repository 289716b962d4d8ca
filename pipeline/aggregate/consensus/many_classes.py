"""Dawid and Skene's E-step where there are many classes: few of an item's classes are possible, few counts not nil.

A count below the floor is the floor. So log P(answer | class) is a sparse matrix of what exceeds the floor, plus a
term of worker and class alone; the first meets few classes, the second fits a processor's cache. Posteriors below
TINY are left out: no sum of them reaches the last digit of the floor, so the result is the same but for rounding.
"""

import numpy as np
from scipy import sparse

from pipeline.aggregate.consensus.matrix import VoteMatrix
from pipeline.aggregate.consensus.posterior import UNKNOWN

TINY = 1e-30
CELLS_TOGETHER = 1 << 17  # scores, 8 bytes each, that are in the cache together


def expect(
    votes: VoteMatrix,
    counts: sparse.csr_array,
    floor: float,
    smoothing: float,
    possible: np.ndarray,
    prior: np.ndarray,
    gold: np.ndarray | None,
) -> tuple[sparse.csr_array, float]:
    """The posterior (items, classes), sparse, and the sum of log evidence.

    `counts` (workers·answers, classes) from the M-step; with `smoothing` added, at least `floor`. `possible` (workers,)
    is how many different answers a worker may give, `prior` (classes,).
    """
    classes, base = votes.classes, max(smoothing, floor)
    values = np.maximum(counts.data + smoothing, floor)
    worker = np.repeat(np.arange(counts.shape[0]) // votes.n_answers, np.diff(counts.indptr))
    totals = np.bincount(worker * classes + counts.indices, values - base, votes.n_workers * classes)
    rest = np.log(base) - np.log(totals.reshape(-1, classes) + base * np.maximum(possible, 1)[:, None])
    places = (counts.indices, counts.indptr)
    excess = sparse.csr_array((np.log(values / base), *places), shape=counts.shape, copy=True)
    excess.eliminate_zeros()  # in place, hence the copy
    by_worker = sparse.csr_array(
        (votes.incidence.data, votes.workers, votes.incidence.indptr), shape=(votes.n_items, votes.n_workers)
    )
    parts, evidence = [], 0.0
    step = max(CELLS_TOGETHER // classes, 1)
    for start in range(0, votes.n_items, step):
        scores = by_worker[start : start + step] @ rest
        _add_product(scores, votes.incidence[start : start + step], excess)
        scores += np.log(prior)
        known = gold[start : start + step] if gold is not None else None
        part, told = _normalize(scores, known)
        parts.append(part)
        evidence += told
    return sparse.vstack(parts, format="csr"), evidence


def _add_product(scores: np.ndarray, left: sparse.csr_array, right: sparse.csr_array) -> None:
    """Add left @ right, left being all ones, to dense scores: half the time of a sparse result."""
    lengths = np.diff(right.indptr)[left.indices]
    ends = np.cumsum(lengths)
    met = np.repeat(right.indptr[left.indices] - ends + lengths, lengths) + np.arange(lengths.sum())
    rows = np.repeat(np.arange(left.shape[0]), np.diff(left.indptr))
    cells = np.repeat(rows * scores.shape[1], lengths) + right.indices[met]
    scores += np.bincount(cells, right.data[met], scores.size).reshape(scores.shape)


def _normalize(scores: np.ndarray, gold: np.ndarray | None) -> tuple[sparse.csr_array, float]:
    """As `posterior.normalize`, of what is not TINY."""
    told = 0.0
    if gold is not None:
        known = np.flatnonzero(gold != UNKNOWN)
        told = float(scores[known, gold[known]].sum())
        scores[known] = -np.inf
        scores[known, gold[known]] = 0
    top = scores.max(axis=1)
    cells = np.flatnonzero(scores > (top + np.log(TINY))[:, None])
    rows, columns = np.divmod(cells.astype(np.int32), np.int32(scores.shape[1]))
    values = np.exp(scores.ravel()[cells] - top[rows])
    total = np.bincount(rows, values, len(top))
    values /= total[rows]
    starts = np.searchsorted(rows, np.arange(len(top) + 1))
    posterior = sparse.csr_array((values, columns, starts), shape=scores.shape)
    return posterior, told + float((top + np.log(total)).sum())
