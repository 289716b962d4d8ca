"""gold: a question with a known answer, asked among the others to estimate the skill of workers."""

import pyarrow as pa

from schemas.table import Table, column

GOLD = Table(
    "gold",
    pa.schema(
        [
            column("image_id", pa.string(), "id of the image that was shown"),
            column("class_name", pa.string(), "class that was asked about"),
            column("answer", pa.string(), "known answer: yes or no"),
        ]
    ),
    key=("image_id", "class_name"),
)
