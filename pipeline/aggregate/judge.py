"""Verdicts of a consensus method, and what becomes of the undecided ones."""

import numpy as np
import pyarrow as pa

from pipeline.aggregate.columns import QUESTION, VoteColumns
from pipeline.aggregate.consensus.methods import consensus
from pipeline.aggregate.consensus.posterior import TIE, UNDECIDED, UNKNOWN, Posterior
from pipeline.aggregate.consensus.settings import Settings
from pipeline.aggregate.majority import verdict_table, verdicts_of_counts
from pipeline.keyed_hash import keyed_hash
from schemas.verdict import VERDICTS
from schemas.vote import ANSWERS

YES, NO = ANSWERS.index("yes"), ANSWERS.index("no")
TEXTS = np.array(VERDICTS)  # UNDECIDED is the last one, too


def judge(
    votes: VoteColumns,
    method: str,
    settings: Settings,
    min_votes: int,
    min_confidence: float = 0.5,
    gold: pa.Table | None = None,
) -> tuple[pa.Table, Posterior]:
    """The verdict table of all questions, in their order, and what the method found out.

    A question with fewer than `min_votes` votes is undecided unless `gold` knows it.
    """
    known = gold_codes(votes.questions, gold)
    found = consensus(votes.matrix(), method, settings, known)
    return verdicts_of_posterior(votes, found.probabilities, min_votes, min_confidence, known), found


def verdicts_of_posterior(
    votes: VoteColumns, posterior: np.ndarray, min_votes: int, min_confidence: float, known: np.ndarray
) -> pa.Table:
    """The verdict table of a posterior (n, 2); `known` int (n,) are the `gold_codes`."""
    counts = votes.counts()
    verdict = Posterior(posterior, np.empty(0)).verdicts(min_confidence)
    enough = counts.sum(axis=1) >= min_votes
    verdict = np.where(enough | (known != UNKNOWN), verdict, UNDECIDED)
    return verdict_table(votes.questions, TEXTS[verdict], counts, posterior.max(axis=1), posterior[:, YES])


def majority_with_posterior(votes: VoteColumns, posterior: np.ndarray, min_votes: int) -> pa.Table:
    """Verdicts by majority, the undecided ones with a posterior (n, 2), for the policy of that name."""
    table = verdicts_of_counts(votes.questions, votes.counts(), min_votes)
    undecided = table["verdict"].to_numpy() == "undecided"
    chances = np.where(undecided, posterior[:, YES], table["posterior"].to_numpy())
    place = table.schema.get_field_index("posterior")
    return table.set_column(place, table.schema.field(place), pa.array(chances, pa.float32()))


def settle_ties(table: pa.Table, policy: str, min_votes: int, seed: int) -> pa.Table:
    """Decide the undecided questions that have enough votes; `drop` and `ask` leave them as they are.

    posterior: the more probable answer, if there is one. seeded: yes or no with equal chances, by a keyed hash of
    the question. The confidence becomes the posterior of what was chosen.
    """
    if policy in ("drop", "ask"):
        return table
    votes = sum(table[name].to_numpy().astype(np.int64) for name in ANSWERS)
    open_ = (table["verdict"].to_numpy() == "undecided") & (votes >= min_votes)
    p_yes = table["posterior"].to_numpy().astype(np.float64)
    if policy == "posterior":
        open_ &= np.abs(2 * p_yes - 1) > TIE
        yes = p_yes > 0.5
    else:
        assert policy == "seeded", policy
        names = (
            "\n".join(pair) for pair in zip(*(table[name].to_pylist() for name in QUESTION), strict=True)
        )
        yes = keyed_hash(names, seed, "ties") % np.uint64(2) == 1
    verdict = np.where(open_, TEXTS[np.where(yes, YES, NO)], table["verdict"].to_numpy())
    confidence = np.where(open_, np.where(yes, p_yes, 1 - p_yes), table["confidence"].to_numpy())
    for name, values in (("verdict", verdict), ("confidence", confidence)):
        place = table.schema.get_field_index(name)
        field = table.schema.field(place)
        table = table.set_column(place, field, pa.array(values, field.type))
    return table


def gold_codes(questions: pa.Table, gold: pa.Table | None) -> np.ndarray:
    """The known class of each question, int64 (n,), UNKNOWN where there is none."""
    if gold is None:
        return np.full(questions.num_rows, UNKNOWN)
    known = {
        (image, name): ANSWERS.index(answer)
        for image, name, answer in zip(*(gold[c].to_pylist() for c in (*QUESTION, "answer")), strict=True)
    }
    pairs = zip(*(questions[name].to_pylist() for name in QUESTION), strict=True)
    return np.array([known.get(pair, UNKNOWN) for pair in pairs], np.int64)
