"""Votes on clean images, which have a known answer. They measure workers and give no verdicts.

The error model is not calibrated with them: clean images show their class more clearly than candidates do, so workers are
right more often about them, and the estimated true noise would come out too low.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute as pc

from pipeline.aggregate.methods.posterior import UNKNOWN
from pipeline.aggregate.verdicts import gold_codes
from pipeline.aggregate.vote_columns import QUESTION
from pipeline.aggregate.vote_validation import select_valid_votes
from pipeline.aggregate.workers import gold_sums
from schemas.gold_vote import GOLD_VOTE
from schemas.vote import ANSWERS


def split_gold_votes(
    votes: pa.Table, clean: pa.Table, classes: Sequence[str], repeated_votes: str, gold: pa.Table | None
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Return (votes on other images, GOLD_VOTE rows, rejections of repeated votes on clean images).

    votes: VOTE_ROWS, all votes on their images. clean: image_id and class_name of clean images; votes on them about any of
    `classes` have a known answer, that of `gold` (GOLD) before that of `clean`.
    """
    index = pc.index_in(votes["image_id"], pc.unique(clean["image_id"]))
    is_gold = pc.and_(pc.is_valid(index), pc.is_in(votes["class_name"], pa.array([*classes], pa.string())))
    asked = votes.filter(is_gold)
    valid, repeated = select_valid_votes(asked, asked, repeated_votes)
    own = clean["class_name"].take(
        pc.index_in(valid.questions["image_id"], clean["image_id"].combine_chunks())
    )
    given = np.where(pc.equal(own, valid.questions["class_name"]).to_numpy(), "yes", "no")
    stated = gold_codes(valid.questions, gold)
    known = np.where(stated == UNKNOWN, given, np.array(ANSWERS)[np.maximum(stated, 0)])
    items = pa.array(valid.items)
    columns = [
        *(valid.questions[name].combine_chunks().take(items) for name in QUESTION),
        pa.array(valid.workers, pa.string()).take(pa.array(valid.voters)),
        pa.array(ANSWERS).take(pa.array(valid.answers)),
        pa.array(known, pa.string()).take(items),
    ]
    return votes.filter(pc.invert(is_gold)), pa.table(columns, schema=GOLD_VOTE.schema), repeated


def gold_vote_sums(rows: pa.Table) -> pd.DataFrame:
    """Return the worker sums (workers.py) of GOLD_VOTE rows, which count as answers to gold questions alone."""
    answers = pc.index_in(rows["answer"], pa.array(ANSWERS)).to_numpy()
    known = pc.index_in(rows["known"], pa.array(ANSWERS)).to_numpy()
    return gold_sums(rows["worker_id"].to_numpy(), answers, known)
