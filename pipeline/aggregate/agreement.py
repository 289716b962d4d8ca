"""Agreement of workers beyond chance: Krippendorff's alpha, Fleiss' kappa, Gwet's AC1, Cohen's kappa of pairs.

All but Cohen's kappa depend only on the number of votes for each answer. Questions with the same numbers form one pattern,
and three to five votes per question make a few dozen patterns. So sums over buckets are small, and a bootstrap over a
million questions is one multinomial draw over the patterns (scipy.stats.bootstrap would resample the questions).

A bootstrap knows only what the sample has: without a disagreement in it, all replicates would be 1. So two questions are
added to what is drawn from, one on which the workers agree and one on which they do not. A. Agresti, B. Coull:
Approximate Is Better than "Exact" for Interval Estimation of Binomial Proportions (1998), does so for shares.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from pipeline.aggregate.methods.vote_matrix import VoteMatrix

REPLICATES = 1000
PAIR_REPLICATES = 200  # each replicate costs as much as the estimate from all pairs of votes
BLOCKS = 10_000
CELLS_PER_BATCH = 1 << 20  # array elements of the replicates that are computed at once
MIN_WORKER_VOTES = 5
MAX_PAIRED_VOTES = 50  # votes on a question that are compared with each other: pairs grow with their square
LEVEL = 0.95
MIN_RANGE = 1e-9  # of replicates, below which they are equal but for rounding


@dataclass(frozen=True)
class AgreementEstimate:
    """An estimate with its 95 % bootstrap interval; NaN if undefined."""

    value: float
    low: float
    high: float


def krippendorff_alpha(counts: np.ndarray, questions: np.ndarray) -> np.ndarray:
    """Krippendorff's alpha for nominal data, float64 (b,).

    K. Krippendorff: Computing Krippendorff's Alpha-Reliability (2011), section C. `counts` (p, answers) are the votes
    of each pattern, `questions` (b, p) the number of questions with each pattern in b samples. Questions with a single
    vote make no pairs and are ignored.
    """
    votes = counts.sum(axis=1)
    pairs = votes >= 2
    counts, votes, questions = counts[pairs], votes[pairs], questions[:, pairs]
    agreeing = questions @ ((counts * (counts - 1)).sum(axis=1) / (votes - 1))  # the diagonal of coincidences
    by_answer = questions @ counts
    total = questions @ votes
    return _beyond_chance(total - agreeing, (total**2 - (by_answer**2).sum(axis=1)) / (total - 1))


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
    it does not fall when nearly all answers are the same. The columns of `counts` are the answers that were offered.
    """
    observed, shares = _observed_and_shares(counts, questions)
    return _beyond_chance(1 - observed, 1 - (shares * (1 - shares)).sum(axis=1) / (counts.shape[1] - 1))


MEASURES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "krippendorff_alpha": krippendorff_alpha,
    "fleiss_kappa": fleiss_kappa,
    "gwet_ac1": gwet_ac1,
}


def with_intervals(counts: np.ndarray, questions: np.ndarray, seed: int = 0) -> dict[str, AgreementEstimate]:
    """Return each of MEASURES with its percentile interval from a bootstrap over questions.

    `counts` int (p, answers), `questions` int (p,). Drawing questions with replacement means drawing the number of
    questions of each pattern: REPLICATES rows of a multinomial distribution.
    """
    total = int(questions.sum())
    if not total:
        return {name: AgreementEstimate(np.nan, np.nan, np.nan) for name in MEASURES}
    rng = np.random.Generator(np.random.PCG64(seed))
    drawn_from = np.concatenate([counts, _agreed_and_split(counts, questions)])
    often = np.concatenate([questions, [1, 1]])
    samples = rng.multinomial(total, often / often.sum(), REPLICATES).astype(np.float64)
    return {
        name: _estimate(
            float(measure(counts, questions[None].astype(np.float64))[0]), measure(drawn_from, samples)
        )
        for name, measure in MEASURES.items()
    }


def _agreed_and_split(counts: np.ndarray, questions: np.ndarray) -> np.ndarray:
    """Return the votes on two questions, int (2, answers): all for the most frequent answer; halved with the next one.

    Each has the mean number of votes of the questions with two votes or more, rounded, and at least two.
    """
    paired = counts.sum(axis=1) >= 2
    votes = max(
        2, round(float(questions[paired] @ counts[paired].sum(axis=1)) / max(1, questions[paired].sum()))
    )
    first, second = np.argsort(-(questions @ counts), kind="stable")[:2]
    result = np.zeros((2, counts.shape[1]), np.int64)
    result[0, first] = votes
    result[1, [first, second]] = votes - votes // 2, votes // 2
    return result


def mean_cohen_kappa(votes: VoteMatrix, seed: int = 0) -> AgreementEstimate:
    """Return the mean of Cohen's kappa over pairs of workers, weighted by common questions; NaN if there are none.

    J. Cohen: A Coefficient of Agreement for Nominal Scales (1960), equation 1. The observed agreement of a pair is that
    on its common questions, the agreement by chance that of all answers of both workers: with chance from the common
    questions alone, the kappas of pairs with few common questions are biased. Ignored are workers with fewer than
    MIN_WORKER_VOTES votes, and pairs who give one and the same answer throughout, whose kappa is undefined. If a
    question has more than MAX_PAIRED_VOTES votes, a random sample of MAX_PAIRED_VOTES of them is compared. The interval is
    that of a bootstrap over questions, grouped into at most BLOCKS random blocks. `seed` decides sample and bootstrap.
    """
    first, second = _vote_pairs(votes, seed)
    enough = np.bincount(votes.workers, minlength=votes.n_workers) >= MIN_WORKER_VOTES
    kept = enough[votes.workers[first]] & enough[votes.workers[second]]
    first, second = first[kept], second[kept]
    codes = votes.workers[first].astype(np.int64) * votes.n_workers + votes.workers[second]
    pair_codes, pair = np.unique(codes, return_inverse=True)
    if not len(pair_codes):
        return AgreementEstimate(np.nan, np.nan, np.nan)
    one, other = np.divmod(pair_codes, votes.n_workers)
    workers = np.unique(np.concatenate([one, other]))
    one, other = np.searchsorted(workers, one), np.searchsorted(workers, other)
    blocks = min(votes.n_items, BLOCKS)
    rng = np.random.Generator(np.random.PCG64(seed))
    block_of_item = rng.permutation(votes.n_items) % blocks

    def by_block(rows: np.ndarray, items: np.ndarray, count: int) -> sparse.csr_array:
        cells = (np.ones(len(rows)), (rows, block_of_item[items]))
        return sparse.coo_array(cells, shape=(count, blocks)).tocsr()

    answers = votes.n_answers
    common = by_block(pair, votes.items[first], len(pair_codes))
    agrees = votes.answers[first] == votes.answers[second]
    agreed = by_block(pair[agrees], votes.items[first[agrees]], len(pair_codes))
    common, agreed = _with_two_blocks(common, common, (1, 1)), _with_two_blocks(agreed, common, (1, 0))
    of_workers = np.isin(votes.workers, workers)
    worker = np.searchsorted(workers, votes.workers[of_workers])
    given = by_block(
        worker * answers + votes.answers[of_workers], votes.items[of_workers], len(workers) * answers
    )
    given = _with_two_blocks(given, given, (1, 1))

    def mean_kappa(weights: np.ndarray) -> np.ndarray:
        """Return the mean kappa, (d,), for weights (blocks + 2, d) of the blocks."""
        counts = (given @ weights).reshape(len(workers), answers, -1)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = counts / counts.sum(axis=1, keepdims=True)
            chance = np.einsum("pad,pad->pd", shares[one], shares[other])
            common_questions = common @ weights
            kappa = _beyond_chance(1 - (agreed @ weights) / common_questions, 1 - chance)
            weight = np.where(np.isfinite(kappa), common_questions, 0)
            result: np.ndarray = (weight * np.nan_to_num(kappa)).sum(axis=0) / weight.sum(axis=0)
        return result

    draws = _block_draws(rng, blocks)
    batch = max(1, CELLS_PER_BATCH // (len(pair_codes) * answers))
    parts = np.split(draws, range(batch, draws.shape[1], batch), axis=1)
    drawn = np.concatenate([mean_kappa(np.ascontiguousarray(part)) for part in parts])
    sample = np.append(np.ones(blocks), np.zeros(2))[:, None]
    return _estimate(float(mean_kappa(sample)[0]), drawn)


def _with_two_blocks(
    sums: sparse.csr_array, of: sparse.csr_array, shares: tuple[int, int]
) -> sparse.csr_array:
    """Append two blocks to sums (rows, blocks): the mean of the blocks of `of`, times each of the shares."""
    return sparse.hstack([sums, of.mean(axis=1)[:, None] * shares], format="csr")


def _block_draws(rng: np.random.Generator, blocks: int) -> np.ndarray:
    """Return how often each of blocks + 2 blocks is among `blocks` draws, float64 (blocks + 2, PAIR_REPLICATES)."""
    # Faster than Generator.multinomial, which draws each count from a binomial distribution.
    chosen = rng.integers(0, blocks + 2, (blocks, PAIR_REPLICATES)) * PAIR_REPLICATES
    chosen += np.arange(PAIR_REPLICATES)
    draws = np.bincount(chosen.ravel(), minlength=(blocks + 2) * PAIR_REPLICATES)
    return draws.astype(np.float64).reshape(blocks + 2, -1)


def _vote_pairs(votes: VoteMatrix, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of every two votes of different workers on an item, the worker with the lower code first.

    If an item has more than MAX_PAIRED_VOTES votes, a random sample of MAX_PAIRED_VOTES of them is used.
    """
    rng = np.random.Generator(np.random.PCG64([seed, MAX_PAIRED_VOTES]))
    sizes = np.bincount(votes.items, minlength=votes.n_items)
    starts = np.concatenate([[0], np.cumsum(sizes)])[:-1]
    firsts, seconds = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for size in np.unique(sizes[sizes > 1]):
        rows = starts[sizes == size][:, None] + np.arange(size)
        if size > MAX_PAIRED_VOTES:
            sample = np.sort(rng.random(rows.shape).argsort(axis=1)[:, :MAX_PAIRED_VOTES], axis=1)
            rows = np.take_along_axis(rows, sample, axis=1)
        one, other = np.triu_indices(rows.shape[1], 1)
        firsts.append(rows[:, one].ravel())
        seconds.append(rows[:, other].ravel())
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    differ = votes.workers[first] != votes.workers[second]
    return first[differ], second[differ]


def _estimate(value: float, drawn: np.ndarray) -> AgreementEstimate:
    """Return a value with the percentile interval of bootstrap replicates, which contains it.

    Without an interval if the replicates are all equal, as those of Krippendorff's alpha of a single question.
    """
    drawn = drawn[np.isfinite(drawn)]
    if np.isnan(value) or not len(drawn) or np.ptp(drawn) < MIN_RANGE:
        return AgreementEstimate(value, np.nan, np.nan)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail]).tolist()
    return AgreementEstimate(value, min(low, value), max(high, value))


def _observed_and_shares(counts: np.ndarray, questions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean share of agreeing pairs (b,) over questions with two or more votes, and of each answer (b, answers)."""
    votes = counts.sum(axis=1)
    pairs = np.maximum(votes * (votes - 1), 1)
    agreeing = (counts * (counts - 1)).sum(axis=1) / pairs
    with np.errstate(invalid="ignore", divide="ignore"):
        observed = questions @ agreeing / (questions @ (votes >= 2))
        shares = questions @ (counts / votes[:, None]) / questions.sum(axis=1)[:, None]
    return observed, shares


def _beyond_chance(disagreement: np.ndarray, by_chance: np.ndarray) -> np.ndarray:
    """Return 1 − observed disagreement / disagreement by chance; NaN if there is none by chance."""
    with np.errstate(invalid="ignore", divide="ignore"):
        result: np.ndarray = 1 - disagreement / by_chance
    return np.where(by_chance > 0, result, np.nan)
