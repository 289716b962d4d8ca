"""retrieval_precision: share of right images among candidates, by class, search method and rank."""

import pyarrow as pa

from schemas.table import Table, column

RETRIEVAL_PRECISION = Table(
    "retrieval_precision",
    pa.schema(
        [
            column(
                "class_name",
                pa.string(),
                "class that was searched for; null: all classes",
                required=False,
            ),
            column("method", pa.string(), "search method: text or image; null if not given", required=False),
            column(
                "rank_from", pa.int32(), "first rank of the band; null if ranks are not given", required=False
            ),
            column(
                "rank_to",
                pa.int32(),
                "last rank of the band; null for the last band, or if ranks are not given",
                required=False,
            ),
            column("yes", pa.int64(), "number of yes verdicts"),
            column("no", pa.int64(), "number of no verdicts"),
            column("undecided", pa.int64(), "number of undecided candidates, including those without votes"),
            column("precision", pa.float64(), "share of yes among yes and no verdicts", required=False),
            column("low", pa.float64(), "lower bound of the 95 % Wilson interval", required=False),
            column("high", pa.float64(), "upper bound of the 95 % Wilson interval", required=False),
        ]
    ),
    key=("class_name", "method", "rank_from"),
)
