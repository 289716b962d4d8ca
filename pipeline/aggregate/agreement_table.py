"""The agreement table, from patterns of votes that add up over buckets."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.aggregate.agreement import AgreementEstimate, mean_cohen, with_intervals
from pipeline.aggregate.methods.vote_matrix import VoteMatrix
from pipeline.aggregate.vote_columns import VoteColumns, codes_of
from schemas.agreement import AGREEMENT
from schemas.vote import ANSWERS

UNSURE = "unsure"
PATTERN = ["class_name", *ANSWERS]


def vote_patterns(votes: VoteColumns) -> pd.Series:
    """How many questions of a bucket have each (class, votes yes, no, unsure)."""
    counts = pd.DataFrame(votes.counts(), columns=list(ANSWERS))
    return counts.assign(class_name=votes.questions["class_name"].to_pandas()).groupby(PATTERN).size()


def cohen_by_class(votes: VoteColumns) -> dict[str | None, AgreementEstimate]:
    """`mean_cohen` of each class, and of all (None)."""
    classes, names = codes_of(votes.questions["class_name"])
    whole = votes.matrix()
    found: dict[str | None, AgreementEstimate] = {None: mean_cohen(whole)}
    of_class = classes[votes.items]
    order = np.argsort(of_class, kind="stable")
    parts = np.split(order, np.searchsorted(of_class[order], np.arange(1, len(names))))
    for name, chosen in zip(names.to_pylist(), parts, strict=False):
        items = np.unique(votes.items[chosen], return_inverse=True)[1]
        part = VoteMatrix.of(
            items, votes.voters[chosen], votes.answers[chosen], whole.classes, whole.n_answers
        )
        found[name] = mean_cohen(part)
    return found


def agreement_table(
    patterns: Iterable[pd.Series],
    cohen: Mapping[str | None, AgreementEstimate] | None = None,
    unsure_offered: bool | None = None,
) -> pa.Table:
    """Each measure of all classes, then of each; with `cohen_by_class` where it is known.

    unsure_offered: whether workers could say unsure; None, if any of them did. A vote that says so is counted anyway.
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
        for measure, found in measured.items():
            numbers = {"value": found.value, "low": found.low, "high": found.high}
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
