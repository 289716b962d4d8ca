"""Choose the questions that should get more votes in the next round, within a budget of answers."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.special import betainc, xlogy

from pipeline.aggregate.vote_columns import QUESTION
from pipeline.keyed_hash import keyed_hash
from schemas.next_question import NEXT_QUESTION
from schemas.vote import ANSWERS

BATCH_ROWS = 1 << 16  # candidates that are collected before they are ranked
RANKING = {"has_min_votes": True, "expected_bits": False, "order": True}  # column → whether ascending


def next_questions(
    batches: Iterable[tuple[pd.DataFrame, pd.DataFrame]],
    budget: int,
    min_votes: int,
    max_votes: int,
    ignore_max_votes: bool = False,
) -> pa.Table:
    """Return the most informative questions, best first, for at most `budget` answers (NEXT_QUESTION).

    A batch is (questions, verdicts): the questions that may be asked (image_id, class_name, path, url), and the verdict
    table's rows for those with votes. Questions with fewer than `min_votes` votes come first, each with all the votes
    that it lacks. They are followed by undecided questions with fewer than `max_votes` votes (any number with
    `ignore_max_votes`), one vote each. Both groups are ordered by `expected_bits`, then by a keyed hash. The first
    question that does not fit into the budget ends the list.

    Memory is proportional to the budget and the size of a batch, not to the number of questions.
    """
    best = pd.DataFrame()
    pending: list[pd.DataFrame] = []
    for questions, verdicts in batches:
        pending.append(_candidates(questions, verdicts, min_votes, max_votes, ignore_max_votes))
        if sum(map(len, pending)) >= max(budget, BATCH_ROWS):
            best, pending = _best([best, *pending], budget), []
    best = _best([best, *pending], budget)
    if best.empty:
        return NEXT_QUESTION.schema.empty_table()
    best = best[best["votes_wanted"].cumsum() <= budget]
    arrays = [pa.array(best[field.name], field.type, from_pandas=True) for field in NEXT_QUESTION.schema]
    return pa.table(arrays, schema=NEXT_QUESTION.schema)


def _best(parts: list[pd.DataFrame], budget: int) -> pd.DataFrame:
    """Rank candidates and drop those that the better ones leave no budget for."""
    parts = [part for part in parts if len(part)]
    if not parts:
        return pd.DataFrame()
    ranked = pd.concat(parts).sort_values(list(RANKING), ascending=list(RANKING.values()))
    spent_before = ranked["votes_wanted"].cumsum() - ranked["votes_wanted"]
    return ranked[spent_before < budget]


def _candidates(
    questions: pd.DataFrame, verdicts: pd.DataFrame, min_votes: int, max_votes: int, ignore_max_votes: bool
) -> pd.DataFrame:
    """Return the questions of a batch that want votes, with the columns of NEXT_QUESTION and of RANKING."""
    columns = [*QUESTION, *ANSWERS, "verdict", "posterior"]
    rows = questions[[*QUESTION, "path", "url"]].merge(verdicts[columns], on=QUESTION, how="left")
    rows[list(ANSWERS)] = rows[list(ANSWERS)].fillna(0).astype(np.int64)
    votes = rows[list(ANSWERS)].to_numpy().sum(axis=1)
    undecided = (rows["verdict"] == "undecided").to_numpy()
    lacking = np.maximum(min_votes - votes, 0)
    rows["votes_wanted"] = np.where(
        lacking > 0, lacking, undecided & ((votes < max_votes) | ignore_max_votes)
    )
    rows["has_min_votes"] = lacking == 0
    rows = rows[rows["votes_wanted"] > 0]
    posterior = rows["posterior"].fillna(0.5).to_numpy(np.float64)
    names = ("\n".join(pair) for pair in zip(*(rows[name] for name in QUESTION), strict=True))
    return rows.assign(
        expected_bits=expected_bits(rows[list(ANSWERS)].to_numpy(), posterior),
        order=keyed_hash(names, 0, "rounds"),
    )


def expected_bits(counts: np.ndarray, posterior: np.ndarray) -> np.ndarray:
    """Return the information about the truth expected from one more answer, in bits, float64 (n,).

    `counts` int (n, 3) are the yes, no and unsure votes, `posterior` (n,) the probability of yes by the aggregation
    method. The value is the mutual information of answer and truth (D. V. Lindley: On a Measure of the Information
    Provided by an Experiment, 1956). The truth has the posterior, shrunk toward ½ by one more vote on each side; the
    next answer is unsure as often as so far (Laplace's rule of succession), and otherwise right with probability
    `expected_majority_share`.
    """
    yes, no, unsure = counts.T.astype(np.float64)
    votes = yes + no + unsure
    p_yes = (votes * posterior + 1) / (votes + 2)
    p_right = expected_majority_share(yes, no)
    p_answer_yes = p_yes * p_right + (1 - p_yes) * (1 - p_right)
    information = _entropy(p_answer_yes) - _entropy(p_right)
    result: np.ndarray = (yes + no + 2) / (votes + 3) * information
    return result


def expected_majority_share(yes: np.ndarray, no: np.ndarray) -> np.ndarray:
    """Return the expected share of the larger side among all workers who say yes or no, float64 (n,), ½ to 1.

    E max(s, 1 − s) with s ~ Beta(yes + 1, no + 1). If many votes are split, the image is a hard one, and the next
    answer is little better than a coin.
    """
    a, b = yes + 1, no + 1
    larger_yes = a / (a + b) * (1 - betainc(a + 1, b, 0.5))
    larger_no = b / (a + b) * betainc(a, b + 1, 0.5)
    result: np.ndarray = larger_yes + larger_no
    return result


def _entropy(p: np.ndarray) -> np.ndarray:
    """Return the entropy of a coin with probability p, in bits."""
    result: np.ndarray = -(xlogy(p, p) + xlogy(1 - p, 1 - p)) / np.log(2)
    return result
