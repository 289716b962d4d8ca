"""The worker table, from sums over votes that add up over buckets."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.aggregate.drift import drifts
from pipeline.aggregate.methods.posterior import UNKNOWN
from pipeline.aggregate.suspicion import suspicions
from pipeline.aggregate.vote_columns import VoteColumns
from pipeline.aggregate.wilson import wilson_interval
from schemas.vote import ANSWERS
from schemas.worker import WORKER

YES, NO = ANSWERS.index("yes"), ANSWERS.index("no")

# yes_no: votes no on questions where the majority of the other workers says yes, and so on.
COMPARED = ["yes_yes", "yes_no", "no_yes", "no_no"]
# dated: votes with a time on questions where the other workers have a majority; dated_agree: those that agree with it.
# t, tt and t_agree: sums of times in days since EPOCH, of their squares, and of the times of agreeing votes.
FLOATS = ["seconds", "t", "tt", "t_agree"]
SUMS = [
    "answers", "yes", "no", "unsure", *COMPARED, "timed", "seconds", "dated", "dated_agree", "t", "tt", "t_agree",
    "gold", "gold_right",
]  # fmt: skip
"""The columns of worker sums."""
# 2026-01-01 in days since 1970. Times are counted from a day near the votes, since sums of large squares lose digits.
EPOCH = 20454.0


def worker_sums(votes: VoteColumns, known: np.ndarray | None = None) -> pd.DataFrame:
    """Return sums by worker_id over a bucket, which must hold all votes of its images.

    known: int (n,), `gold_codes` of the questions.

    A vote yes or no is compared with the strict majority among the yes and no votes of the *other* workers, if they have
    one; a worker is never compared with a majority that their own vote has decided.
    """
    yes, no = votes.answers == YES, votes.answers == NO
    side = yes.astype(np.int64) - no
    counts = votes.counts()
    lead = (counts[:, YES] - counts[:, NO])[votes.items] - side  # lead of yes over no among the other workers
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
        **_gold_columns(votes.answers, known[votes.items] if known is not None else UNKNOWN),
    }
    sums = {
        name: np.bincount(votes.voters, values, len(votes.workers)).astype(
            np.float64 if name in FLOATS else np.int64
        )
        for name, values in columns.items()
    }
    return pd.DataFrame(sums, index=pd.Index(votes.workers, dtype=object, name="worker_id"))


def _gold_columns(answers: np.ndarray, known: np.ndarray | int) -> dict[str, np.ndarray]:
    """Return which votes (V,) are answers yes or no to gold questions, and which of them are right; `known` are codes."""
    is_gold = (known != UNKNOWN) & ((answers == YES) | (answers == NO))
    return {"gold": is_gold, "gold_right": is_gold & (answers == known)}


def gold_sums(workers: np.ndarray, answers: np.ndarray, known: np.ndarray) -> pd.DataFrame:
    """Return sums by worker_id, as `worker_sums` does, of votes (V,) that count as answers to gold questions alone."""
    index = pd.Index(workers, dtype=object, name="worker_id")
    sums = pd.DataFrame(_gold_columns(answers, known), index=index).astype(np.int64).groupby(level=0).sum()
    return sums.reindex(columns=SUMS, fill_value=0).astype(dict.fromkeys(FLOATS, np.float64))


def add_worker_sums(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Add the worker sums of any number of buckets; the order of `parts` decides the rounding of FLOATS."""
    parts = [part for part in parts if len(part)]
    return pd.concat(parts).groupby(level=0).sum() if parts else pd.DataFrame()


def worker_table(sums: pd.DataFrame, skill: Mapping[str, float] | None = None) -> pa.Table:
    """Return the worker table, sorted by worker_id, from the sums of all buckets and the `skill` of a method."""
    if sums.empty:
        return WORKER.schema.empty_table()
    sums = sums.sort_index()
    agreed = (sums["yes_yes"] + sums["no_no"]).to_numpy()
    columns = [
        sums.index,
        sums["answers"],
        _ratio(sums["yes"], sums["answers"]),
        *map(pd.Series, wilson_interval(agreed, sums[COMPARED].sum(axis=1).to_numpy())),
        _ratio(sums["seconds"], sums["timed"]),
        _ratio(sums["unsure"], sums["answers"]),
        _ratio(sums["yes_yes"], sums["yes_yes"] + sums["yes_no"]),
        _ratio(sums["no_no"], sums["no_yes"] + sums["no_no"]),
        sums["gold"],
        *map(pd.Series, wilson_interval(sums["gold_right"].to_numpy(), sums["gold"].to_numpy())),
        [None if skill is None else skill.get(name) for name in sums.index],
        suspicions(sums),
        *drifts(sums),
    ]
    arrays = [
        pa.array(column, field.type, from_pandas=True)
        for column, field in zip(columns, WORKER.schema, strict=True)
    ]
    return pa.table(arrays, schema=WORKER.schema)


def _ratio(part: pd.Series, whole: pd.Series) -> pd.Series:
    return part.astype(np.float64) / whole.where(whole > 0)
