"""What the votes say of the workers, as sums that add up over buckets of votes."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.labels.suspicion import suspicions
from schemas.worker import WORKER

# `yes_no` counts the votes no where the others lean to yes, and so on.
LEANS = ["yes_yes", "yes_no", "no_yes", "no_no"]
SUMS = ["answers", "yes", "no", "unsure", *LEANS, "timed", "seconds"]


def worker_sums(votes: pd.DataFrame) -> pd.DataFrame:
    """Sums by worker_id of a bucket of votes that holds all votes of its images.

    A vote yes or no is compared with the strict majority among the yes and no of the *other* workers, where they
    have one: a worker is not compared with a verdict that their own vote has swayed.
    """
    votes = votes.reset_index(drop=True)
    yes, no = (votes["answer"] == "yes").astype(int), (votes["answer"] == "no").astype(int)
    question = [votes["image_id"], votes["class_name"]]
    lead = (yes - no).groupby(question).transform("sum") - (yes - no)  # of yes over no among the others
    columns = {
        "worker_id": votes["worker_id"],
        "answers": 1,
        "yes": yes,
        "no": no,
        "unsure": votes["answer"] == "unsure",
        "yes_yes": (lead > 0) & (yes == 1),
        "yes_no": (lead > 0) & (no == 1),
        "no_yes": (lead < 0) & (yes == 1),
        "no_no": (lead < 0) & (no == 1),
        "timed": votes["seconds"].notna(),
        "seconds": votes["seconds"].fillna(0).astype(np.float64),
    }
    return pd.DataFrame(columns).groupby("worker_id")[SUMS].sum()


def worker_table(sums: Iterable[pd.DataFrame], skill: Mapping[str, float] | None = None) -> pa.Table:
    """The worker table, sorted by worker_id, of the sums of all buckets, and the `skill` that a method found."""
    # Sorting first makes the sum of seconds independent of the order in which buckets arrive.
    parts = sorted(
        (part for part in sums if len(part)), key=lambda part: (part.index[0], part.to_numpy().tobytes())
    )
    if not parts:
        return WORKER.schema.empty_table()
    total = pd.concat(parts).groupby(level=0).sum().sort_index()
    columns = [
        total.index,
        total["answers"],
        total["yes"] / total["answers"],
        _ratio(total["yes_yes"] + total["no_no"], total[LEANS].sum(axis=1)),
        _ratio(total["seconds"], total["timed"]),
        total["unsure"] / total["answers"],
        _ratio(total["yes_yes"], total["yes_yes"] + total["yes_no"]),
        _ratio(total["no_no"], total["no_yes"] + total["no_no"]),
        [None if skill is None else skill.get(name) for name in total.index],
        suspicions(total),
    ]
    arrays = [pa.array(c, f.type, from_pandas=True) for c, f in zip(columns, WORKER.schema, strict=True)]
    return pa.table(arrays, schema=WORKER.schema)


def _ratio(part: pd.Series, whole: pd.Series) -> pd.Series:
    return part.astype(np.float64) / whole.where(whole > 0)
