"""verdict: the resolved answer to "is this image a CLASS?", with the votes behind it."""

import pyarrow as pa

from schemas.table import Table, column

VERDICTS = ("yes", "no", "undecided")

VERDICT = Table(
    "verdict",
    pa.schema(
        [
            column("image_id", pa.string(), "the image"),
            column("class_name", pa.string(), "the class that was asked for"),
            column("verdict", pa.string(), "yes, no, or undecided (a tie, or too few votes)"),
            column("yes", pa.int16(), "votes yes"),
            column("no", pa.int16(), "votes no"),
            column("unsure", pa.int16(), "votes unsure"),
            column(
                "confidence",
                pa.float32(),
                "of the verdict; majority: share of all votes that agree; undecided: of the larger side",
            ),
            column(
                "posterior",
                pa.float32(),
                "probability of yes, by the method; majority: share of the votes, unsure halved",
            ),
        ]
    ),
    key=("image_id", "class_name"),
)
