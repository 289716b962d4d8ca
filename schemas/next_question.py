"""next_question: a question that still needs votes, and how much one more is expected to tell."""

import pyarrow as pa

from schemas.table import Table, column

NEXT_QUESTION = Table(
    "next_question",
    pa.schema(
        [
            column("image_id", pa.string(), "the image to show"),
            column("class_name", pa.string(), "the class to ask for"),
            column("path", pa.string(), "where the image is, as in the retrieval list", required=False),
            column("url", pa.string(), "where the image is, as in the retrieval list", required=False),
            column("votes_wanted", pa.int16(), "answers to ask for in this round"),
            column("yes", pa.int16(), "votes yes so far"),
            column("no", pa.int16(), "votes no so far"),
            column("unsure", pa.int16(), "votes unsure so far"),
            column("expected_bits", pa.float32(), "bits that one more answer is expected to tell"),
        ]
    ),
    key=("image_id", "class_name"),
)
