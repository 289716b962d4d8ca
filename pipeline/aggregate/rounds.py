"""The next round: which questions deserve another vote, within a budget."""

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.special import betainc, xlogy

from pipeline.aggregate.columns import QUESTION
from pipeline.keyed_hash import keyed_hash
from schemas.next_question import NEXT_QUESTION
from schemas.vote import ANSWERS


def next_questions(
    questions: pd.DataFrame,
    verdicts: pd.DataFrame,
    budget: int,
    min_votes: int,
    max_votes: int,
    ask_again: bool = False,
) -> pa.Table:
    """What to ask next, the most telling questions first, for at most `budget` answers.

    `questions` (image_id, class_name, path, url) are all that may be asked, `verdicts` has the verdict table's columns
    for those with votes. First come the questions with fewer than `min_votes` votes, each for as many as it lacks;
    then, for one answer each, those that are undecided with fewer than `max_votes`, or, with `ask_again`, with any
    number. Within both, by `expected_gain`; equal ones in the order of a keyed hash.
    """
    columns = [*QUESTION, *ANSWERS, "verdict", "posterior"]
    known = questions[[*QUESTION, "path", "url"]].merge(verdicts[columns], on=QUESTION, how="left")
    known[list(ANSWERS)] = known[list(ANSWERS)].fillna(0).astype(np.int64)
    known["posterior"] = known["posterior"].fillna(0.5).astype(np.float64)
    counts = known[list(ANSWERS)].to_numpy()
    votes = counts.sum(axis=1)
    known["gain"] = expected_gain(counts, known["posterior"].to_numpy())
    undecided = (known["verdict"] == "undecided").to_numpy()
    lacking = np.maximum(min_votes - votes, 0)
    known["ask"] = np.where(lacking > 0, lacking, undecided & ((votes < max_votes) | ask_again))
    known["begun"] = lacking == 0
    names = ("\n".join(pair) for pair in zip(*(known[name] for name in QUESTION), strict=True))
    known["order"] = keyed_hash(names, 0, "rounds")
    known = known[known["ask"] > 0].sort_values(["begun", "gain", "order"], ascending=[True, False, True])
    # A question that does not fit whole is left out, and so are those behind it: their turn comes first next time.
    known = known[known["ask"].cumsum() <= budget]
    arrays = [pa.array(known[f.name], f.type, from_pandas=True) for f in NEXT_QUESTION.schema]
    return pa.table(arrays, schema=NEXT_QUESTION.schema)


def expected_gain(counts: np.ndarray, posterior: np.ndarray) -> np.ndarray:
    """Bits that the next answer is expected to tell of the truth, float64 (n,).

    `counts` int (n, 3) are the votes yes, no and unsure, `posterior` (n,) the probability of yes by the consensus
    method. It is the mutual information of answer and truth (D. V. Lindley: On a Measure of the Information Provided
    by an Experiment, 1956), where the truth has the posterior, drawn toward a half as by one more vote on each side;
    the next answer is unsure as often as so far (Laplace's rule of succession), and else right with `sidedness`.
    """
    yes, no, unsure = counts.T.astype(np.float64)
    votes = yes + no + unsure
    p = (votes * posterior + 1) / (votes + 2)
    right = sidedness(yes, no)
    says_yes = p * right + (1 - p) * (1 - right)
    told = _bits(says_yes) - _bits(right)
    result: np.ndarray = (yes + no + 2) / (votes + 3) * told
    return result


def sidedness(yes: np.ndarray, no: np.ndarray) -> np.ndarray:
    """Expected share of the larger side among all workers who say yes or no, float64 (n,), from ½ to 1.

    E max(s, 1 − s) with s ~ Beta(yes + 1, no + 1). Where many votes are split, the picture is a hard one, and the
    next answer is little better than a coin.
    """
    a, b = yes + 1, no + 1
    larger_yes = a / (a + b) * (1 - betainc(a + 1, b, 0.5))
    larger_no = b / (a + b) * betainc(a, b + 1, 0.5)
    result: np.ndarray = larger_yes + larger_no
    return result


def _bits(p: np.ndarray) -> np.ndarray:
    result: np.ndarray = -(xlogy(p, p) + xlogy(1 - p, 1 - p)) / np.log(2)
    return result
