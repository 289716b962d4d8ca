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
            column("agreement_low", pa.float64(), "95 % interval of Wilson", required=False),
            column("agreement_high", pa.float64(), "95 % interval of Wilson", required=False),
            column("seconds", pa.float64(), "mean time per answer", required=False),
            column("unsure_share", pa.float64(), "share of the answers that say unsure"),
            column(
                "yes_when_yes",
                pa.float64(),
                "share of yes, where the other workers have a majority of yes",
                required=False,
            ),
            column(
                "no_when_no",
                pa.float64(),
                "share of no, where the other workers have a majority of no",
                required=False,
            ),
            column(
                "skill",
                pa.float64(),
                "probability of a right answer, by the consensus method; majority gives none",
                required=False,
            ),
            column(
                "suspicion",
                pa.string(),
                "why the answers are worth a look (docs/explanation/aggregation.md), none where they are not",
                required=False,
            ),
            column(
                "drift",
                pa.float64(),
                "change of the agreement from the first to the last answer, by a straight line",
                required=False,
            ),
            column(
                "drift_z",
                pa.float64(),
                "of the test for such a trend (Cochran-Armitage); beyond ±1.96 is 5 % by chance",
                required=False,
            ),
        ]
    ),
    key=("worker_id",),
)
