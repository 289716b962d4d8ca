"""valid_vote: a vote that passed validation, stored for the iterations of distributed Dawid-Skene."""

import pyarrow as pa

from schemas.table import Table, column

VALID_VOTE = Table(
    "valid_vote",
    pa.schema(
        [
            column("question", pa.int32(), "number of the question within its shard; rows are sorted by it"),
            column("image_id", pa.string(), "id of the image"),
            column("class_name", pa.string(), "class that was asked about"),
            column(
                "seen_class",
                pa.string(),
                "class that most of the workers with the answer no saw instead; equal for all votes on a question",
                required=False,
            ),
            column("known", pa.int8(), "answer of a gold question: 0 yes, 1 no; -1 for other questions"),
            column("worker_id", pa.string(), "id of the worker who answered"),
            column("answer", pa.int8(), "0 yes, 1 no, 2 unsure"),
            column("seconds", pa.float32(), "time that the worker took, in seconds; NaN if not given"),
            column("days", pa.float64(), "time of the answer, in days since 1970; NaN if not given"),
        ]
    ),
    key=("image_id", "class_name", "worker_id"),
)

# Result of an EM iteration, from which the next model is estimated.
EXPECTED_COUNTS = Table(
    "expected_counts",
    pa.schema(
        [
            column("worker_id", pa.string(), "id of the worker who answered"),
            column(
                "counts",
                pa.list_(pa.float64(), 6),
                "sums of the posteriors of yes and no over the questions that the worker answered yes, no and unsure",
            ),
        ]
    ),
    key=("worker_id",),
)
