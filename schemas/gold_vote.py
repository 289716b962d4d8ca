"""gold_vote: a worker's answer to a question about a clean image, whose answer the clean lists give."""

import pyarrow as pa

from schemas.table import Table, column

GOLD_VOTE = Table(
    "gold_vote",
    pa.schema(
        [
            column("image_id", pa.string(), "id of the clean image that was shown"),
            column("class_name", pa.string(), "class that was asked about"),
            column("worker_id", pa.string(), "id of the worker"),
            column("answer", pa.string(), "answer of the worker: yes, no or unsure"),
            column(
                "known",
                pa.string(),
                "known answer: that of aggregate.gold, or yes if the clean list gives the image this class, and no if another",
            ),
        ]
    ),
    key=("image_id", "class_name", "worker_id"),
)
