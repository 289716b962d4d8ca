"""gold: a question whose answer is known, hidden among the others to learn who is right."""

import pyarrow as pa

from schemas.table import Table, column

GOLD = Table(
    "gold",
    pa.schema(
        [
            column("image_id", pa.string(), "the image that was shown"),
            column("class_name", pa.string(), "the class that was asked for"),
            column("answer", pa.string(), "the known answer: yes or no"),
        ]
    ),
    key=("image_id", "class_name"),
)
