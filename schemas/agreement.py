"""agreement: agreement of the workers beyond chance, for all classes together and for each class."""

import pyarrow as pa

from schemas.table import Table, column

AGREEMENT = Table(
    "agreement",
    pa.schema(
        [
            column(
                "class_name", pa.string(), "class that was asked about; null: all classes", required=False
            ),
            column("measure", pa.string(), "krippendorff_alpha, fleiss_kappa, gwet_ac1 or mean_cohen_kappa"),
            column(
                "value", pa.float64(), "1 is full agreement, 0 is chance; null if undefined", required=False
            ),
            column(
                "low",
                pa.float64(),
                "lower bound of the 95 % bootstrap interval over questions; null if undefined",
                required=False,
            ),
            column(
                "high",
                pa.float64(),
                "upper bound of the 95 % bootstrap interval over questions; null if undefined",
                required=False,
            ),
            column("questions", pa.int64(), "number of questions with votes"),
            column("votes", pa.int64(), "number of votes on them"),
            column("answers", pa.string(), "answers that were offered: yes, no; or yes, no, unsure"),
        ]
    ),
    key=("class_name", "measure"),
)
