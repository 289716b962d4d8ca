"""Flag workers whose answers should be reviewed. A flag is a reason to look, not a conclusion about a person.

V. C. Raykar, S. Yu: Eliminating Spammers and Ranking Annotators for Crowdsourced Labeling Tasks. JMLR 13 (2012),
section 3.1: an answer that does not depend on the truth has P(yes | yes) + P(no | no) − 1 = 0.
"""

import numpy as np
import pandas as pd

MIN_VOTES = 10  # compared votes on each side, below which nothing is concluded from the answers
MIN_INFORMED = 0.2  # P(yes | yes) + P(no | no) − 1 below which answers hardly depend on the question
Z = 1.96  # 97.5 % quantile of the normal distribution
ONE_ANSWER_SHARE = 0.95  # share of equal answers
HURRY = 0.25  # share of the median worker's time per answer


def suspicions(sums: pd.DataFrame) -> list[str | None]:
    """Return a reason for each worker (a row of `worker_sums`), or None.

    - contrary: the answers are the opposite of the majority of the other workers more often than by chance
    - one answer: the answers hardly depend on the question, and at least 95 % are the same
    - chance: the answers hardly depend on the question
    - hurry: a quarter of the median time per answer or less, and none of the above

    The first three need a typical worker who is informed; otherwise they are never given. This fails if questions were
    selected by their answers, as when every class that a worker named becomes a question: without the worker's own yes,
    the other votes lean to no.
    """
    yes, no = sums["yes_yes"] + sums["yes_no"], sums["no_yes"] + sums["no_no"]
    # Agresti and Caffo (2000): add one right and one wrong vote to each side.
    right_yes, right_no = (sums["yes_yes"] + 1) / (yes + 2), (sums["no_no"] + 1) / (no + 2)
    informed = right_yes + right_no - 1
    is_measured = (yes >= MIN_VOTES) & (no >= MIN_VOTES)
    is_measured &= informed[is_measured].median() > MIN_INFORMED
    error = np.sqrt(right_yes * (1 - right_yes) / (yes + 2) + right_no * (1 - right_no) / (no + 2))
    is_uninformed = is_measured & (informed + Z * error < MIN_INFORMED)
    most = sums[["yes", "no", "unsure"]].max(axis=1) / sums["answers"]
    pace = sums["seconds"] / sums["timed"].where(sums["timed"] >= MIN_VOTES)
    reasons = np.select(
        [
            is_measured & (informed + Z * error < 0),
            is_uninformed & (most >= ONE_ANSWER_SHARE),
            is_uninformed,
            pace <= HURRY * pace.median(),
        ],
        ["contrary", "one answer", "chance", "hurry"],
        "",
    )
    return [str(reason) or None for reason in reasons]
