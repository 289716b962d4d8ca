"""Votes that name a class instead of answering a question, as in CIFAR-10N."""

import pyarrow as pa
from pyarrow import compute as pc

from pipeline.aggregate.vote_validation import VOTE_ROWS


def expand_class_answers(votes: pa.Table, questions: pa.Table) -> pa.Table:
    """Replace each vote that names a class by one vote per class asked about its image.

    The vote is yes for the class that it names and no, with this class as `seen_class`, for the others; unsure stays
    unsure for all. `questions` has image_id and class_name, each pair once. A vote about an image without any is
    left unchanged, so that it is rejected later. Votes made this way are not independent of each other
    (docs/explanation/aggregation.md).
    """
    names_class = pc.is_null(votes["class_name"])
    if not pc.any(names_class).as_py():
        return votes
    asked = questions.select(["image_id", "class_name"])
    pairs = (
        votes.filter(names_class).drop_columns("class_name").join(asked, "image_id", join_type="left outer")
    )
    answer = pc.if_else(pc.fill_null(pc.equal(pairs["answer"], pairs["class_name"]), False), "yes", "no")
    answer = pc.if_else(pc.equal(pairs["answer"], "unsure"), "unsure", answer)
    seen = pc.if_else(pc.equal(answer, "no"), pairs["answer"], None)
    for name, values in {"seen_class": seen, "answer": answer}.items():
        pairs = pairs.set_column(pairs.column_names.index(name), name, values)
    pairs = pairs.select(VOTE_ROWS.names)
    return pa.concat_tables([votes.filter(pc.invert(names_class)), pa.table(pairs.columns, schema=VOTE_ROWS)])
