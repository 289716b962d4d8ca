"""retrieval_precision: how often a search finds what it was asked for, by class, method and rank."""

import pyarrow as pa

from schemas.table import Table, column

RETRIEVAL_PRECISION = Table(
    "retrieval_precision",
    pa.schema(
        [
            column(
                "class_name",
                pa.string(),
                "the class that was searched for; none: all classes",
                required=False,
            ),
            column("method", pa.string(), "text or image search; none: not told", required=False),
            column("rank_from", pa.int32(), "first rank of the band; none: not told", required=False),
            column("rank_to", pa.int32(), "last rank of the band; none: not told, or no end", required=False),
            column("yes", pa.int64(), "verdicts yes"),
            column("no", pa.int64(), "verdicts no"),
            column("undecided", pa.int64(), "undecided, or without votes"),
            column("precision", pa.float64(), "share of yes among yes and no", required=False),
            column("low", pa.float64(), "95 % interval of Wilson", required=False),
            column("high", pa.float64(), "95 % interval of Wilson", required=False),
        ]
    ),
    key=("class_name", "method", "rank_from"),
)
