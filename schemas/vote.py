"""vote: one worker's answer to the question "Does this image show this class?"."""

import pyarrow as pa

from schemas.table import Table, column

ANSWERS = ("yes", "no", "unsure")

VOTE = Table(
    "vote",
    pa.schema(
        [
            column("image_id", pa.string(), "id of the image that was shown"),
            column("class_name", pa.string(), "class that was asked about"),
            column("worker_id", pa.string(), "id of the worker who answered"),
            column("answer", pa.string(), "yes, no or unsure"),
            column("seconds", pa.float32(), "time that the worker took, in seconds", required=False),
            column(
                "time",
                pa.timestamp("ms", "UTC"),
                "time of the answer: ISO 8601, or seconds since 1970",
                required=False,
            ),
            column(
                "seen_class",
                pa.string(),
                "with the answer no: the listed class that the worker saw instead",
                required=False,
            ),
        ]
    ),
    key=("image_id", "class_name", "worker_id"),
)
