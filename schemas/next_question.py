"""next_question: a question that should get more votes, with the expected information of one more vote."""

import pyarrow as pa

from schemas.table import Table, column

NEXT_QUESTION = Table(
    "next_question",
    pa.schema(
        [
            column("image_id", pa.string(), "id of the image to show"),
            column("class_name", pa.string(), "class to ask about"),
            column("path", pa.string(), "path of the image, as in the retrieval list", required=False),
            column("url", pa.string(), "URL of the image, as in the retrieval list", required=False),
            column("votes_wanted", pa.int16(), "number of votes to collect in this round"),
            column("yes", pa.int16(), "number of yes votes so far"),
            column("no", pa.int16(), "number of no votes so far"),
            column("unsure", pa.int16(), "number of unsure votes so far"),
            column(
                "expected_bits",
                pa.float32(),
                "expected information of one more vote about the truth, in bits",
            ),
        ]
    ),
    key=("image_id", "class_name"),
)
