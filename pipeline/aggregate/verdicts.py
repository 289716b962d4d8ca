"""Verdicts: by strict majority, by an aggregation method, and the resolution of ties.

The majority rule is that of Jiang et al.: Beyond Synthetic Noise (2020), section 3. A tie is the verdict "undecided";
it does not depend on the order of votes.
"""

import numpy as np
import pyarrow as pa

from pipeline.aggregate.methods.convergence import MethodSettings
from pipeline.aggregate.methods.posterior import TIE, UNDECIDED, UNKNOWN, Posterior
from pipeline.aggregate.methods.registry import estimate_posterior
from pipeline.aggregate.vote_columns import QUESTION, VoteColumns
from pipeline.keyed_hash import keyed_hash
from schemas.verdict import VERDICT, VERDICTS
from schemas.vote import ANSWERS

YES, NO = ANSWERS.index("yes"), ANSWERS.index("no")
VERDICT_NAMES = np.array(VERDICTS)  # indexed by class; UNDECIDED (-1) gives the last name, "undecided"


def majority_verdicts(votes: VoteColumns, min_votes: int) -> pa.Table:
    """Return the verdict table by strict majority, one row per question in the order of `votes.questions`.

    A verdict is yes or no if more than half of all votes on the question, unsure votes included, give that answer.
    Otherwise, and with fewer than `min_votes` votes, it is undecided.
    """
    return majority_of_counts(votes.questions, votes.counts(), min_votes)


def majority_of_counts(questions: pa.Table, counts: np.ndarray, min_votes: int) -> pa.Table:
    """Return the verdict table by strict majority; `counts` int (n, 3) are the yes, no and unsure votes per question."""
    yes, no, unsure = counts.T
    total = counts.sum(axis=1)
    enough = total >= min_votes
    verdict = np.select([enough & (2 * yes > total), enough & (2 * no > total)], ["yes", "no"], "undecided")
    confidence = np.maximum(yes, no) / np.maximum(total, 1)
    posterior = (yes + unsure / 2) / np.maximum(total, 1)
    return verdict_table(questions, verdict, counts, confidence, posterior, None)


def majority_with_posterior(votes: VoteColumns, posterior: np.ndarray, min_votes: int) -> pa.Table:
    """Return majority verdicts in which the undecided rows have the `posterior` (n, 2) of another method.

    `ties: posterior` needs it: `resolve_ties` reads the column.
    """
    table = majority_verdicts(votes, min_votes)
    undecided = table["verdict"].to_numpy() == "undecided"
    p_yes = np.where(undecided, posterior[:, YES], table["posterior"].to_numpy())
    return _replace_column(table, "posterior", p_yes)


def verdicts_by_method(
    votes: VoteColumns,
    method: str,
    settings: MethodSettings,
    min_votes: int,
    min_confidence: float = 0.5,
    gold: pa.Table | None = None,
) -> tuple[pa.Table, Posterior]:
    """Return the verdict table of an aggregation method, in the order of `votes.questions`, and its posterior.

    A question with fewer than `min_votes` votes is undecided unless it is a gold question.
    """
    gold_classes = gold_codes(votes.questions, gold)
    posterior = estimate_posterior(votes.matrix(), method, settings, gold_classes)
    table = verdicts_of_posterior(votes, posterior.probabilities, min_votes, min_confidence, gold_classes)
    return table, posterior


def verdicts_of_posterior(
    votes: VoteColumns, posterior: np.ndarray, min_votes: int, min_confidence: float, gold_classes: np.ndarray
) -> pa.Table:
    """Return the verdict table of a posterior (n, 2); `gold_classes` int (n,) are the `gold_codes`."""
    counts = votes.counts()
    verdict = Posterior(posterior, np.empty(0)).verdicts(min_confidence)
    enough = counts.sum(axis=1) >= min_votes
    verdict = np.where(enough | (gold_classes != UNKNOWN), verdict, UNDECIDED)
    confidence = posterior.max(axis=1)
    p_yes = posterior[:, YES]
    return verdict_table(votes.questions, VERDICT_NAMES[verdict], counts, confidence, p_yes, 1 - p_yes)


def verdict_table(
    questions: pa.Table,
    verdict: np.ndarray,
    counts: np.ndarray,
    confidence: np.ndarray,
    posterior: np.ndarray,
    p_wrong: np.ndarray | None,
) -> pa.Table:
    """Assemble the verdict table from columns of n rows; `counts` is (n, 3).

    `seen_class` is null (see `add_seen_class`), and so is a `p_wrong` of None (see `set_p_wrong`).
    """
    columns = [
        questions["image_id"],
        questions["class_name"],
        verdict,
        *counts.T,
        confidence,
        posterior,
        np.full(len(verdict), None) if p_wrong is None else p_wrong,
        np.full(len(verdict), None),
    ]
    arrays = [
        column.cast(field.type) if isinstance(column, pa.ChunkedArray) else pa.array(column, field.type)
        for column, field in zip(columns, VERDICT.schema, strict=True)
    ]
    return pa.table(arrays, schema=VERDICT.schema)


def resolve_ties(table: pa.Table, policy: str, min_votes: int, seed: int) -> pa.Table:
    """Apply the policy `ties` to undecided questions with at least `min_votes` votes.

    drop, ask: leave them undecided. posterior: take the more probable answer; an exact tie stays undecided. seeded:
    draw yes or no with equal chances by a keyed hash of the question. The confidence becomes the posterior of the
    answer taken.
    """
    if policy in ("drop", "ask"):
        return table
    votes = sum(table[name].to_numpy().astype(np.int64) for name in ANSWERS)
    is_resolved = (table["verdict"].to_numpy() == "undecided") & (votes >= min_votes)
    p_yes = table["posterior"].to_numpy().astype(np.float64)
    if policy == "posterior":
        is_resolved &= np.abs(2 * p_yes - 1) > TIE
        yes = p_yes > 0.5
    else:
        assert policy == "seeded", policy
        names = (
            "\n".join(pair) for pair in zip(*(table[name].to_pylist() for name in QUESTION), strict=True)
        )
        yes = keyed_hash(names, seed, "ties") % np.uint64(2) == 1
    verdict = np.where(is_resolved, VERDICT_NAMES[np.where(yes, YES, NO)], table["verdict"].to_numpy())
    confidence = np.where(is_resolved, np.where(yes, p_yes, 1 - p_yes), table["confidence"].to_numpy())
    return _replace_column(_replace_column(table, "verdict", verdict), "confidence", confidence)


def set_p_wrong(table: pa.Table, p_wrong: np.ndarray) -> pa.Table:
    """Set the column `p_wrong` (n,) of a verdict table; NaN becomes null."""
    return _replace_column(table, "p_wrong", np.ma.masked_invalid(p_wrong).astype(np.float32))


def gold_codes(questions: pa.Table, gold: pa.Table | None) -> np.ndarray:
    """Return the known class of each question, int64 (n,); UNKNOWN for questions that are not gold."""
    if gold is None:
        return np.full(questions.num_rows, UNKNOWN)
    answers = {
        (image, name): ANSWERS.index(answer)
        for image, name, answer in zip(*(gold[c].to_pylist() for c in (*QUESTION, "answer")), strict=True)
    }
    pairs = zip(*(questions[name].to_pylist() for name in QUESTION), strict=True)
    return np.array([answers.get(pair, UNKNOWN) for pair in pairs], np.int64)


def _replace_column(table: pa.Table, name: str, values: np.ndarray) -> pa.Table:
    index = table.schema.get_field_index(name)
    field = table.schema.field(index)
    return table.set_column(index, field, pa.array(values, field.type))
