"""error_model: how probable it is that an image does not show a class, under draws from the uncertainty of the error model."""

import pyarrow as pa

from schemas.table import Table, column

ERROR_MODEL = Table(
    "error_model",
    pa.schema(
        [
            column(
                "class_name", pa.string(), "class that was asked about; null for all classes", required=False
            ),
            column(
                "p_wrong_percent",
                pa.int16(),
                "p_wrong of the verdicts on the questions of this row, in whole percent",
            ),
            column(
                "questions", pa.int64(), "questions of the sample with this p_wrong, without gold questions"
            ),
            column(
                "draws",
                pa.list_(pa.float32()),
                "mean probability that the image does not show the class, under each draw of the model's parameters",
            ),
        ]
    ),
    key=("class_name", "p_wrong_percent"),
)
