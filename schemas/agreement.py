"""agreement: how far the workers agree beyond chance, overall and for each class."""

import pyarrow as pa

from schemas.table import Table, column

AGREEMENT = Table(
    "agreement",
    pa.schema(
        [
            column(
                "class_name", pa.string(), "the class that was asked for; none: all classes", required=False
            ),
            column("measure", pa.string(), "krippendorff_alpha, fleiss_kappa, gwet_ac1 or mean_cohen_kappa"),
            column("value", pa.float64(), "1 is full agreement, 0 chance; none: not defined", required=False),
            column("low", pa.float64(), "95 % bootstrap interval over questions", required=False),
            column("high", pa.float64(), "95 % bootstrap interval over questions", required=False),
            column("questions", pa.int64(), "questions with votes"),
            column("votes", pa.int64(), "votes on them"),
            column("answers", pa.string(), "the answers that were offered: yes, no, or yes, no, unsure"),
        ]
    ),
    key=("class_name", "measure"),
)
