"""How far workers agree beyond chance: Krippendorff's alpha, Fleiss' kappa, Gwet's AC1, Cohen's kappa of pairs.

All but Cohen's depend only on how many votes of each answer a question has. Questions with the same counts are one
pattern; three to five votes make a few dozen of them. So sums over buckets are small, and a bootstrap over a million
questions is a draw of how often each pattern comes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from pipeline.aggregate.methods.vote_matrix import VoteMatrix

REPLICATES = 1000
PAIR_REPLICATES = 200  # a draw costs as much as all pairs of votes
BLOCKS = 10_000
CELLS_TOGETHER = 1 << 20  # of the shares of pairs that are drawn at once
FEWEST_VOTES = 5
LEVEL = 0.95


@dataclass(frozen=True)
class AgreementEstimate:
    """An estimate with the limits of its 95 % bootstrap interval; NaN where it is not defined."""

    value: float
    low: float
    high: float


def krippendorff_alpha(counts: np.ndarray, questions: np.ndarray) -> np.ndarray:
    """Krippendorff's alpha for nominal data, float64 (b,).

    K. Krippendorff: Computing Krippendorff's Alpha-Reliability (2011), section C. `counts` (p, answers) are the votes
    of each pattern, `questions` (b, p) how many questions have it, in each of b samples. Questions with one vote
    pair with nothing and are left out.
    """
    votes = counts.sum(axis=1)
    pairs = votes >= 2
    counts, votes, questions = counts[pairs], votes[pairs], questions[:, pairs]
    same = questions @ ((counts * (counts - 1)).sum(axis=1) / (votes - 1))  # the diagonal of coincidences
    by_answer = questions @ counts
    total = questions @ votes
    return _beyond_chance(total - same, (total**2 - (by_answer**2).sum(axis=1)) / (total - 1))


def fleiss_kappa(counts: np.ndarray, questions: np.ndarray) -> np.ndarray:
    """Fleiss' kappa, float64 (b,); arguments as in `krippendorff_alpha`.

    J. L. Fleiss: Measuring Nominal Scale Agreement Among Many Raters (1971), equation 7; with different numbers of
    votes as in K. L. Gwet: Handbook of Inter-Rater Reliability (2014), chapter 2.
    """
    observed, shares = _observed_and_shares(counts, questions)
    return _beyond_chance(1 - observed, 1 - (shares**2).sum(axis=1))


def gwet_ac1(counts: np.ndarray, questions: np.ndarray) -> np.ndarray:
    """Gwet's AC1, float64 (b,); arguments as in `krippendorff_alpha`.

    K. L. Gwet: Computing Inter-Rater Reliability in the Presence of High Agreement (2008), equation 5: unlike kappa
    it does not fall where nearly all answers are the same. All columns of `counts` are answers that were on offer.
    """
    observed, shares = _observed_and_shares(counts, questions)
    return _beyond_chance(1 - observed, 1 - (shares * (1 - shares)).sum(axis=1) / (counts.shape[1] - 1))


MEASURES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "krippendorff_alpha": krippendorff_alpha,
    "fleiss_kappa": fleiss_kappa,
    "gwet_ac1": gwet_ac1,
}


def with_intervals(counts: np.ndarray, questions: np.ndarray, seed: int = 0) -> dict[str, AgreementEstimate]:
    """Each of MEASURES with its percentile interval from a bootstrap over questions.

    `counts` int (p, answers), `questions` int (p,). Drawing questions with replacement is drawing how often each
    pattern comes: REPLICATES rows of a multinomial.
    """
    total = int(questions.sum())
    if not total:
        return {name: AgreementEstimate(np.nan, np.nan, np.nan) for name in MEASURES}
    rng = np.random.Generator(np.random.PCG64(seed))
    samples = rng.multinomial(total, questions / total, REPLICATES).astype(np.float64)
    result = {}
    for name, measure in MEASURES.items():
        value = float(measure(counts, questions[None].astype(np.float64))[0])
        drawn = measure(counts, samples)
        result[name] = AgreementEstimate(value, *_limits(drawn))
    return result


def mean_cohen(votes: VoteMatrix, seed: int = 0) -> AgreementEstimate:
    """Cohen's kappa, mean over pairs of workers, weighted by their common questions; NaN where there is none.

    J. Cohen: A Coefficient of Agreement for Nominal Scales (1960), equation 1. The agreement of a pair is that on its
    common questions; its agreement by chance comes from all answers of both. With chance from the common questions alone
    the kappas of pairs that share a few questions are biased, and no interval around their mean holds the true one. Left
    out are workers with fewer than FEWEST_VOTES votes, and pairs who both give one and the same answer throughout, who
    have no kappa. The interval is that of a bootstrap over questions, in at most BLOCKS random blocks of them.
    """
    first, second = _vote_pairs(votes)
    enough = np.bincount(votes.workers, minlength=votes.n_workers) >= FEWEST_VOTES
    kept = enough[votes.workers[first]] & enough[votes.workers[second]]
    first, second = first[kept], second[kept]
    codes = votes.workers[first].astype(np.int64) * votes.n_workers + votes.workers[second]
    known, pair = np.unique(codes, return_inverse=True)
    if not len(known):
        return AgreementEstimate(np.nan, np.nan, np.nan)
    one, other = np.divmod(known, votes.n_workers)
    workers = np.unique(np.concatenate([one, other]))
    one, other = np.searchsorted(workers, one), np.searchsorted(workers, other)
    blocks = min(votes.n_items, BLOCKS)
    rng = np.random.Generator(np.random.PCG64(seed))
    of_item = rng.permutation(votes.n_items) % blocks

    def by_block(rows: np.ndarray, items: np.ndarray, count: int) -> sparse.csr_array:
        cells = (np.ones(len(rows)), (rows, of_item[items]))
        return sparse.coo_array(cells, shape=(count, blocks)).tocsr()

    answers = votes.n_answers
    common = by_block(pair, votes.items[first], len(known))
    agrees = votes.answers[first] == votes.answers[second]
    agreed = by_block(pair[agrees], votes.items[first[agrees]], len(known))
    theirs = np.isin(votes.workers, workers)
    worker = np.searchsorted(workers, votes.workers[theirs])
    given = by_block(worker * answers + votes.answers[theirs], votes.items[theirs], len(workers) * answers)

    def weighed(weights: np.ndarray) -> np.ndarray:
        """The mean kappa, (d,), with weights (blocks, d) of the blocks."""
        counts = (given @ weights).reshape(len(workers), answers, -1)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = counts / counts.sum(axis=1, keepdims=True)
            chance = np.einsum("pad,pad->pd", shares[one], shares[other])
            together = common @ weights
            kappa = _beyond_chance(1 - (agreed @ weights) / together, 1 - chance)
            weight = np.where(np.isfinite(kappa), together, 0)
            result: np.ndarray = (weight * np.nan_to_num(kappa)).sum(axis=0) / weight.sum(axis=0)
        return result

    # Quicker than a multinomial, of which each count would be a draw from a binomial distribution.
    chosen = rng.integers(0, blocks, (blocks, PAIR_REPLICATES)) * PAIR_REPLICATES + np.arange(PAIR_REPLICATES)
    draws = np.bincount(chosen.ravel(), minlength=chosen.size).astype(np.float64).reshape(blocks, -1)
    together = max(1, CELLS_TOGETHER // (len(known) * answers))
    parts = range(0, PAIR_REPLICATES, together)
    drawn = np.concatenate(
        [weighed(np.ascontiguousarray(draws[:, start : start + together])) for start in parts]
    )
    return AgreementEstimate(float(weighed(np.ones((blocks, 1)))[0]), *_limits(drawn))


def _vote_pairs(votes: VoteMatrix) -> tuple[np.ndarray, np.ndarray]:
    """The positions of every two votes of different workers on an item, the worker of lower code first."""
    sizes = np.bincount(votes.items, minlength=votes.n_items)
    starts = np.concatenate([[0], np.cumsum(sizes)])[:-1]
    firsts, seconds = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for size in np.unique(sizes[sizes > 1]):
        rows = starts[sizes == size][:, None] + np.arange(size)
        one, other = np.triu_indices(size, 1)
        firsts.append(rows[:, one].ravel())
        seconds.append(rows[:, other].ravel())
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    apart = votes.workers[first] != votes.workers[second]
    return first[apart], second[apart]


def _limits(drawn: np.ndarray) -> tuple[float, float]:
    """The percentile interval of what a bootstrap has drawn."""
    drawn = drawn[np.isfinite(drawn)]
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail]) if len(drawn) else (np.nan, np.nan)
    return float(low), float(high)


def _observed_and_shares(counts: np.ndarray, questions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean share of agreeing pairs (b,) over questions with two votes, mean share of each answer (b, answers)."""
    votes = counts.sum(axis=1)
    pairs = np.maximum(votes * (votes - 1), 1)
    agreeing = (counts * (counts - 1)).sum(axis=1) / pairs
    with np.errstate(invalid="ignore", divide="ignore"):
        observed = questions @ agreeing / (questions @ (votes >= 2))
        shares = questions @ (counts / votes[:, None]) / questions.sum(axis=1)[:, None]
    return observed, shares


def _beyond_chance(disagreement: np.ndarray, by_chance: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        result: np.ndarray = 1 - disagreement / by_chance
    return np.where(by_chance > 0, result, np.nan)
