"""Majority: the paper's rule (Jiang et al., 2020, section 3). A tie is a state, not an accident of ordering."""

import numpy as np
import pyarrow as pa

from pipeline.aggregate.columns import VoteColumns
from schemas.verdict import VERDICT


def majority(votes: VoteColumns, min_votes: int) -> pa.Table:
    """Verdicts by strict majority.

    A verdict is yes or no where more than half of all votes on the question say so, `unsure` counting among all;
    else, and with fewer than `min_votes` votes, it is undecided. Returns a verdict table in the order of
    `votes.questions`, one row for each.
    """
    return verdicts_of_counts(votes.questions, votes.counts(), min_votes)


def verdicts_of_counts(questions: pa.Table, counts: np.ndarray, min_votes: int) -> pa.Table:
    """The rule itself: `counts` int (n, 3) are the yes, no and unsure votes on each of n questions."""
    yes, no, unsure = counts.T
    total = counts.sum(axis=1)
    enough = total >= min_votes
    verdict = np.select([enough & (2 * yes > total), enough & (2 * no > total)], ["yes", "no"], "undecided")
    shares = np.maximum(yes, no) / np.maximum(total, 1)
    posterior = (yes + unsure / 2) / np.maximum(total, 1)
    return verdict_table(questions, verdict, counts, shares, posterior)


def verdict_table(
    questions: pa.Table,
    verdict: np.ndarray,
    counts: np.ndarray,
    confidence: np.ndarray,
    posterior: np.ndarray,
) -> pa.Table:
    """Put together the columns of the verdict table, n rows each; `counts` is (n, 3)."""
    columns = [
        questions["image_id"],
        questions["class_name"],
        verdict,
        *counts.T,
        confidence,
        posterior,
    ]
    arrays = [
        c.cast(f.type) if isinstance(c, pa.ChunkedArray) else pa.array(c, f.type)
        for c, f in zip(columns, VERDICT.schema, strict=True)
    ]
    return pa.table(arrays, schema=VERDICT.schema)
