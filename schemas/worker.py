"""worker: what is known of one worker from the votes alone."""

import pyarrow as pa

from schemas.table import Table, column

WORKER = Table(
    "worker",
    pa.schema(
        [
            column("worker_id", pa.string(), "who answered"),
            column("answers", pa.int64(), "votes counted"),
            column("yes_share", pa.float64(), "share of them that say yes"),
            column(
                "agreement",
                pa.float64(),
                "share that agree with the majority of the other workers, ties left out",
                required=False,
            ),
            column("seconds", pa.float64(), "mean time per answer", required=False),
        ]
    ),
    key=("worker_id",),
)
