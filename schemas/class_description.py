"""class_description: a text about a class that the voting page shows beside its questions."""

import pyarrow as pa

from schemas.table import Table, column

CLASS_DESCRIPTION = Table(
    "class_description",
    pa.schema(
        [
            column("class_name", pa.string(), "name of the class"),
            column(
                "description",
                pa.string(),
                "what counts as this class and what does not, in a sentence or two",
            ),
        ]
    ),
    key=("class_name",),
)
