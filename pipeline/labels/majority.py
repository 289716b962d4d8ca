"""Majority: the paper's rule (Jiang et al., 2020, section 3). A tie is a state, not an accident of ordering."""

import numpy as np
import pandas as pd
import pyarrow as pa

from schemas.verdict import VERDICT
from schemas.vote import ANSWERS


def majority(votes: pd.DataFrame, min_votes: int) -> pa.Table:
    """Verdicts by strict majority.

    `votes` has image_id, class_name, answer, one row a vote. A verdict is yes or no where more than half of all
    votes on the question say so, `unsure` counting among all; else, and with fewer than `min_votes` votes, it is
    undecided. Returns a verdict table sorted by (image_id, class_name), one row for each question with votes.
    """
    question = ["image_id", "class_name"]
    counts = votes.groupby([*question, "answer"]).size().unstack("answer", fill_value=0)
    counts = counts.reindex(columns=list(ANSWERS), fill_value=0).sort_index()
    yes, no = counts["yes"].to_numpy(), counts["no"].to_numpy()
    total = counts.to_numpy().sum(axis=1)
    enough = total >= min_votes
    verdict = np.select([enough & (2 * yes > total), enough & (2 * no > total)], ["yes", "no"], "undecided")
    columns = [
        counts.index.get_level_values("image_id"),
        counts.index.get_level_values("class_name"),
        verdict,
        yes,
        no,
        counts["unsure"],
        np.maximum(yes, no) / np.maximum(total, 1),
    ]
    arrays = [pa.array(c, f.type) for c, f in zip(columns, VERDICT.schema, strict=True)]
    return pa.table(arrays, schema=VERDICT.schema)
