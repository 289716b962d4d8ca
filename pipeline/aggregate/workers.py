"""What the votes say of the workers, as sums that add up over buckets of votes."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.aggregate.drift import drifts
from pipeline.aggregate.suspicion import suspicions
from pipeline.aggregate.vote_columns import VoteColumns
from pipeline.aggregate.wilson import wilson_interval
from schemas.vote import ANSWERS
from schemas.worker import WORKER

YES, NO = ANSWERS.index("yes"), ANSWERS.index("no")

# `yes_no` counts the votes no where the others lean to yes, and so on.
LEANS = ["yes_yes", "yes_no", "no_yes", "no_no"]
# Of the votes with a time on which the others lean to a side, `dated` counts all and `dated_agree` those that agree;
# `t`, `tt` and `t_agree`, sums of days since EPOCH, are what a line through agreement over time is made of.
EPOCH = 18262.0  # 2020-01-01 in days since 1970: squares of days near to now lose no digits


def worker_sums(votes: VoteColumns) -> pd.DataFrame:
    """ExpectedCounts by worker_id of a bucket of votes that holds all votes of its images.

    A vote yes or no is compared with the strict majority among the yes and no of the *other* workers, where they
    have one: a worker is not compared with a verdict that their own vote has swayed.
    """
    yes, no = votes.answers == YES, votes.answers == NO
    side = yes.astype(np.int64) - no
    counts = votes.counts()
    lead = (counts[:, YES] - counts[:, NO])[votes.items] - side  # of yes over no among the others
    assert votes.seconds is not None
    assert votes.days is not None
    timed = ~np.isnan(votes.seconds)
    agrees = lead * side > 0
    dated = ~np.isnan(votes.days) & (lead * side != 0)
    t = np.where(dated, votes.days - EPOCH, 0)
    columns: dict[str, np.ndarray | None] = {
        "answers": None,
        "yes": yes,
        "no": no,
        "unsure": side == 0,
        "yes_yes": (lead > 0) & yes,
        "yes_no": (lead > 0) & no,
        "no_yes": (lead < 0) & yes,
        "no_no": (lead < 0) & no,
        "timed": timed,
        "seconds": np.where(timed, votes.seconds, 0),
        "dated": dated,
        "dated_agree": dated & agrees,
        "t": t,
        "tt": t * t,
        "t_agree": t * agrees,
    }
    floats = {"seconds", "t", "tt", "t_agree"}
    sums = {
        name: np.bincount(votes.voters, values, len(votes.workers)).astype(
            np.float64 if name in floats else np.int64
        )
        for name, values in columns.items()
    }
    return pd.DataFrame(sums, index=pd.Index(votes.workers, dtype=object, name="worker_id"))


def worker_table(sums: Iterable[pd.DataFrame], skill: Mapping[str, float] | None = None) -> pa.Table:
    """The worker table, sorted by worker_id, of the sums of all buckets, and the `skill` that a method found."""
    # Sorting first makes the sums of times independent of the order in which buckets arrive.
    parts = sorted(
        (part for part in sums if len(part)), key=lambda part: (part.index[0], part.to_numpy().tobytes())
    )
    if not parts:
        return WORKER.schema.empty_table()
    total = pd.concat(parts).groupby(level=0).sum().sort_index()
    agreed = (total["yes_yes"] + total["no_no"]).to_numpy()
    columns = [
        total.index,
        total["answers"],
        total["yes"] / total["answers"],
        *map(pd.Series, wilson_interval(agreed, total[LEANS].sum(axis=1).to_numpy())),
        _ratio(total["seconds"], total["timed"]),
        total["unsure"] / total["answers"],
        _ratio(total["yes_yes"], total["yes_yes"] + total["yes_no"]),
        _ratio(total["no_no"], total["no_yes"] + total["no_no"]),
        [None if skill is None else skill.get(name) for name in total.index],
        suspicions(total),
        *drifts(total),
    ]
    arrays = [pa.array(c, f.type, from_pandas=True) for c, f in zip(columns, WORKER.schema, strict=True)]
    return pa.table(arrays, schema=WORKER.schema)


def _ratio(part: pd.Series, whole: pd.Series) -> pd.Series:
    return part.astype(np.float64) / whole.where(whole > 0)
