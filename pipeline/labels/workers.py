"""What the votes say of the workers, as sums that add up over buckets of votes."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import pyarrow as pa

from schemas.worker import WORKER

SUMS = ["answers", "yes", "judged", "agreed", "timed", "seconds"]


def worker_sums(votes: pd.DataFrame) -> pd.DataFrame:
    """Sums by worker_id of a bucket of votes that holds all votes of its images.

    `judged` counts the votes for which the other workers have a strict majority among yes and no, `agreed` those
    that are on its side: a worker is not compared with a verdict that their own vote has swayed.
    """
    votes = votes.reset_index(drop=True)
    yes, no = (votes["answer"] == "yes").astype(int), (votes["answer"] == "no").astype(int)
    question = [votes["image_id"], votes["class_name"]]
    lead = (yes - no).groupby(question).transform("sum") - (yes - no)  # of yes over no among the others
    judged = (lead != 0) & (yes + no > 0)
    agreed = judged & (np.sign(lead) == yes - no)
    columns = {
        "worker_id": votes["worker_id"],
        "answers": 1,
        "yes": yes,
        "judged": judged,
        "agreed": agreed,
        "timed": votes["seconds"].notna(),
        "seconds": votes["seconds"].fillna(0).astype(np.float64),
    }
    return pd.DataFrame(columns).groupby("worker_id")[SUMS].sum()


def worker_table(sums: Iterable[pd.DataFrame]) -> pa.Table:
    """The worker table, sorted by worker_id, of the sums of all buckets."""
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
        _ratio(total["agreed"], total["judged"]),
        _ratio(total["seconds"], total["timed"]),
    ]
    arrays = [pa.array(c, f.type, from_pandas=True) for c, f in zip(columns, WORKER.schema, strict=True)]
    return pa.table(arrays, schema=WORKER.schema)


def _ratio(part: pd.Series, whole: pd.Series) -> pd.Series:
    return part.astype(np.float64) / whole.where(whole > 0)
