"""verdict: the aggregated answer to the question "Does this image show this class?", with the votes behind it."""

import pyarrow as pa

from schemas.table import Table, column

VERDICTS = ("yes", "no", "undecided")

VERDICT = Table(
    "verdict",
    pa.schema(
        [
            column("image_id", pa.string(), "id of the image"),
            column("class_name", pa.string(), "class that was asked about"),
            column("verdict", pa.string(), "yes, no, or undecided (a tie, or too few votes)"),
            column("yes", pa.int16(), "number of yes votes"),
            column("no", pa.int16(), "number of no votes"),
            column("unsure", pa.int16(), "number of unsure votes"),
            column(
                "confidence",
                pa.float32(),
                "probability of the verdict by the method; majority: share of all votes that agree; undecided: the larger side",
            ),
            column(
                "posterior",
                pa.float32(),
                "probability of yes by the method; majority: share of yes votes plus half the share of unsure votes",
            ),
            column(
                "p_wrong",
                pa.float32(),
                "estimated probability that the image does not show the class; null if there is nothing to estimate it from",
                required=False,
            ),
            column(
                "seen_class",
                pa.string(),
                "verdict no: the listed class that the image shows instead, by a verdict yes or by most of the workers who named "
                "one; null if none is known",
                required=False,
            ),
        ]
    ),
    key=("image_id", "class_name"),
)
