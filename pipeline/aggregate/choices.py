"""Choices among all classes, as in CIFAR-10N, turned into answers to the questions that were asked."""

import pyarrow as pa
from pyarrow import compute as pc

from pipeline.aggregate.votes import VOTE_ROWS


def expand_choices(votes: pa.Table, questions: pa.Table) -> pa.Table:
    """Turn each vote without a class, whose answer names one, into one vote for each class asked of its image.

    It is yes for the class that it names and no for the others; unsure stays unsure for all. `questions` has
    image_id and class_name, each pair once. A vote about an image of which nothing was asked stays as it is, to
    be rejected. Note what docs/explanation/aggregation.md says of such votes: they are not independent of each other.
    """
    chosen = pc.is_null(votes["class_name"])
    if not pc.any(chosen).as_py():
        return votes
    asked = questions.select(["image_id", "class_name"])
    pairs = votes.filter(chosen).drop_columns("class_name").join(asked, "image_id", join_type="left outer")
    said = pc.if_else(pc.fill_null(pc.equal(pairs["answer"], pairs["class_name"]), False), "yes", "no")
    said = pc.if_else(pc.equal(pairs["answer"], "unsure"), "unsure", said)
    pairs = pairs.set_column(pairs.column_names.index("answer"), "answer", said).select(VOTE_ROWS.names)
    return pa.concat_tables([votes.filter(pc.invert(chosen)), pa.table(pairs.columns, schema=VOTE_ROWS)])
