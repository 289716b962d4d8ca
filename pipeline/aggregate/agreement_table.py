"""The agreement table, from vote patterns that add up over buckets."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.aggregate.agreement import AgreementEstimate, mean_cohen_kappa, with_intervals
from pipeline.aggregate.methods.vote_matrix import VoteMatrix
from pipeline.aggregate.vote_columns import VoteColumns, codes_of
from schemas.agreement import AGREEMENT
from schemas.vote import ANSWERS

UNSURE = "unsure"
PATTERN = ["class_name", *ANSWERS]


def vote_patterns(votes: VoteColumns) -> pd.Series:
    """Count the questions of a bucket by pattern (class, yes votes, no votes, unsure votes)."""
    counts = pd.DataFrame(votes.counts(), columns=list(ANSWERS))
    return counts.assign(class_name=votes.questions["class_name"].to_pandas()).groupby(PATTERN).size()


def cohen_by_class(votes: VoteColumns) -> dict[str | None, AgreementEstimate]:
    """Return `mean_cohen_kappa` of each class, and of all classes (None)."""
    classes, names = codes_of(votes.questions["class_name"])
    whole = votes.matrix()
    kappas: dict[str | None, AgreementEstimate] = {None: mean_cohen_kappa(whole)}
    class_of_vote = classes[votes.items]
    order = np.argsort(class_of_vote, kind="stable")
    parts = np.split(order, np.searchsorted(class_of_vote[order], np.arange(1, len(names))))
    for name, chosen in zip(names.to_pylist(), parts, strict=False):
        items = np.unique(votes.items[chosen], return_inverse=True)[1]
        part = VoteMatrix.of(
            items, votes.voters[chosen], votes.answers[chosen], whole.classes, whole.n_answers
        )
        kappas[name] = mean_cohen_kappa(part)
    return kappas


def agreement_table(
    patterns: Iterable[pd.Series],
    cohen: Mapping[str | None, AgreementEstimate] | None = None,
    unsure_offered: bool | None = None,
) -> pa.Table:
    """Return each measure for all classes together, then for each class.

    patterns: `vote_patterns` of buckets. cohen: result of `cohen_by_class`; None leaves its rows out. unsure_offered:
    whether workers could answer unsure; None means if any worker did. Unsure votes are counted in any case.
    """
    parts = [part for part in patterns if len(part)]
    if not parts:
        return AGREEMENT.schema.empty_table()
    total = pd.concat(parts).groupby(level=PATTERN).sum().reset_index(name="questions")
    has_unsure = bool(unsure_offered) or bool(total[UNSURE].any())
    offered = [answer for answer in ANSWERS if has_unsure or answer != UNSURE]
    rows: list[dict[str, object]] = []
    for name, chosen in [(None, total), *total.groupby("class_name")]:
        counts, questions = chosen[offered].to_numpy(), chosen["questions"].to_numpy()
        measured = with_intervals(counts, questions)
        if cohen is not None:
            measured["mean_cohen_kappa"] = cohen[name]
        for measure, estimate in measured.items():
            numbers = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
            rows.append(
                {
                    "class_name": name,
                    "measure": measure,
                    **{key: None if np.isnan(number) else number for key, number in numbers.items()},
                    "questions": int(questions.sum()),
                    "votes": int(counts.sum(axis=1) @ questions),
                    "answers": ", ".join(offered),
                }
            )
    return AGREEMENT.from_rows(rows)
