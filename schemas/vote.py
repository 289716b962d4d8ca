"""vote: one worker's answer to "is this image a CLASS?"."""

import pyarrow as pa

from schemas.table import Table, column

ANSWERS = ("yes", "no", "unsure")

VOTE = Table(
    "vote",
    pa.schema(
        [
            column("image_id", pa.string(), "the image that was shown"),
            column("class_name", pa.string(), "the class that was asked for"),
            column("worker_id", pa.string(), "who answered"),
            column("answer", pa.string(), "yes, no or unsure"),
            column("seconds", pa.float32(), "time the worker took", required=False),
            column(
                "time",
                pa.timestamp("ms", "UTC"),
                "when the answer was given: ISO 8601, or seconds since 1970",
                required=False,
            ),
        ]
    ),
    key=("image_id", "class_name", "worker_id"),
)
