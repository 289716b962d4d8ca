"""valid_vote: a vote that counts, as Dawid-Skene reads it again and again where it works in passes."""

import pyarrow as pa

from schemas.table import Table, column

VALID_VOTE = Table(
    "valid_vote",
    pa.schema(
        [
            column("question", pa.int32(), "number of the question within its shard; rows are sorted by it"),
            column("image_id", pa.string(), "the image"),
            column("class_name", pa.string(), "the class that was asked for"),
            column("known", pa.int8(), "the answer of a gold question: 0 yes, 1 no; -1: not known"),
            column("worker_id", pa.string(), "who answered"),
            column("answer", pa.int8(), "0 yes, 1 no, 2 unsure"),
            column("seconds", pa.float32(), "time the worker took, NaN where not known"),
            column("days", pa.float64(), "when the answer was given, since 1970, NaN where not known"),
        ]
    ),
    key=("image_id", "class_name", "worker_id"),
)

# What an iteration hands on to the next: sums by worker.
EXPECTED_COUNTS = Table(
    "expected_counts",
    pa.schema(
        [
            column("worker_id", pa.string(), "who answered"),
            column(
                "counts",
                pa.list_(pa.float64(), 6),
                "posteriors of yes and no of the questions answered yes, no, unsure, summed up",
            ),
        ]
    ),
    key=("worker_id",),
)
