"""worker: statistics of one worker's votes."""

import pyarrow as pa

from schemas.table import Table, column

WORKER = Table(
    "worker",
    pa.schema(
        [
            column("worker_id", pa.string(), "id of the worker"),
            column("answers", pa.int64(), "number of valid votes on candidates"),
            column("yes_share", pa.float64(), "share of yes votes; null without votes", required=False),
            column(
                "agreement",
                pa.float64(),
                "share of votes that agree with the majority of the other workers; ties are ignored",
                required=False,
            ),
            column("agreement_low", pa.float64(), "lower bound of the 95 % Wilson interval", required=False),
            column("agreement_high", pa.float64(), "upper bound of the 95 % Wilson interval", required=False),
            column("seconds", pa.float64(), "mean time per answer, in seconds", required=False),
            column("unsure_share", pa.float64(), "share of unsure votes; null without votes", required=False),
            column(
                "yes_when_yes",
                pa.float64(),
                "share of yes votes where the majority of the other workers says yes",
                required=False,
            ),
            column(
                "no_when_no",
                pa.float64(),
                "share of no votes where the majority of the other workers says no",
                required=False,
            ),
            column(
                "gold_answers",
                pa.int64(),
                "number of answers yes or no to gold questions: candidates of aggregate.gold, and clean images",
            ),
            column("gold_right", pa.float64(), "share of them that are right", required=False),
            column("gold_low", pa.float64(), "lower bound of its 95 % Wilson interval", required=False),
            column("gold_high", pa.float64(), "upper bound of its 95 % Wilson interval", required=False),
            column(
                "skill",
                pa.float64(),
                "probability of a right answer by the aggregation method; null for majority",
                required=False,
            ),
            column(
                "suspicion",
                pa.string(),
                "reason to review the answers (docs/explanation/aggregation.md); null if there is none",
                required=False,
            ),
            column(
                "drift",
                pa.float64(),
                "change of the agreement from the first to the last answer, by linear regression",
                required=False,
            ),
            column(
                "drift_z",
                pa.float64(),
                "statistic of the Cochran-Armitage test for this trend; by chance, 5 % of the workers are beyond ±1.96",
                required=False,
            ),
        ]
    ),
    key=("worker_id",),
)
