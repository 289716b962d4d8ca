"""published_vote: a valid vote as a publication shows it, without the id of the worker and without times."""

import pyarrow as pa

from schemas.table import Table, column

PUBLISHED_VOTE = Table(
    "published_vote",
    pa.schema(
        [
            column("image_id", pa.string(), "id of the image that was shown"),
            column("class_name", pa.string(), "class that was asked about"),
            column("worker", pa.string(), "pseudonym of the worker: a keyed hash of the id"),
            column("answer", pa.string(), "yes, no or unsure"),
        ]
    ),
    key=("image_id", "class_name", "worker"),
)
