"""Choices among all classes, as in CIFAR-10N, turned into answers to the questions that were asked."""

import numpy as np
import pyarrow as pa

from pipeline.labels.votes import VOTE_ROWS


def expand_choices(votes: pa.Table, questions: pa.Table) -> pa.Table:
    """Turn each vote without a class, whose answer names one, into one vote for each class asked of its image.

    It is yes for the class that it names and no for the others; unsure stays unsure for all. `questions` has
    image_id and class_name, each pair once. A vote about an image of which nothing was asked stays as it is, to
    be rejected. Note what docs/labels.md says of such votes: they are not independent of each other.
    """
    frame = votes.to_pandas()
    chosen = frame["class_name"].isna()
    if not chosen.any():
        return votes
    asked = questions.select(["image_id", "class_name"]).to_pandas().rename(columns={"class_name": "asked"})
    pairs = frame[chosen].drop(columns="class_name").merge(asked, on="image_id", how="left")
    said = np.where(pairs["answer"] == pairs["asked"], "yes", "no")
    pairs["answer"] = np.where(pairs["answer"] == "unsure", "unsure", said)
    pairs = pairs.rename(columns={"asked": "class_name"})[VOTE_ROWS.names]
    tables = [
        pa.table([pa.array(part[f.name], f.type, from_pandas=True) for f in VOTE_ROWS], schema=VOTE_ROWS)
        for part in (frame[~chosen], pairs)
    ]
    return pa.concat_tables(tables)
