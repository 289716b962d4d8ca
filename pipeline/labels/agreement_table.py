"""The agreement table, from patterns of votes that add up over buckets."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.labels.agreement import Interval, pairwise_cohen, with_intervals
from pipeline.labels.columns import VoteColumns
from schemas.agreement import AGREEMENT
from schemas.vote import ANSWERS

PATTERN = ["class_name", *ANSWERS]


def vote_patterns(votes: VoteColumns) -> pd.Series:
    """How many questions of a bucket have each (class, votes yes, no, unsure)."""
    counts = pd.DataFrame(votes.counts(), columns=list(ANSWERS))
    return counts.assign(class_name=votes.questions["class_name"].to_pandas()).groupby(PATTERN).size()


def mean_cohen(votes: VoteColumns) -> float:
    """Cohen's kappa, mean over pairs of workers, weighted by their common questions; NaN where there is none."""
    _, common, kappa = pairwise_cohen(votes.matrix())
    known = np.isfinite(kappa)
    return float(np.average(kappa[known], weights=common[known])) if known.any() else np.nan


def agreement_table(patterns: Iterable[pd.Series], cohen: float | None = None) -> pa.Table:
    """Each measure of all classes, then of each; with `mean_cohen`, which has no interval, where it is known."""
    parts = [part for part in patterns if len(part)]
    if not parts:
        return AGREEMENT.schema.empty_table()
    total = pd.concat(parts).groupby(level=PATTERN).sum().reset_index(name="questions")
    rows: list[dict[str, object]] = []
    for name, chosen in [(None, total), *total.groupby("class_name")]:
        counts, questions = chosen[list(ANSWERS)].to_numpy(), chosen["questions"].to_numpy()
        measured = with_intervals(counts, questions)
        if name is None and cohen is not None:
            measured["mean_cohen_kappa"] = Interval(cohen, np.nan, np.nan)
        for measure, found in measured.items():
            numbers = {"value": found.value, "low": found.low, "high": found.high}
            rows.append(
                {
                    "class_name": name,
                    "measure": measure,
                    **{key: None if np.isnan(number) else number for key, number in numbers.items()},
                    "questions": int(questions.sum()),
                    "votes": int(counts.sum(axis=1) @ questions),
                }
            )
    return AGREEMENT.from_rows(rows)
