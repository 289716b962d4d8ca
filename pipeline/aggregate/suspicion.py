"""Which workers deserve a look, and why. A reason to look, not a verdict on a person.

V. C. Raykar, S. Yu: Eliminating Spammers and Ranking Annotators for Crowdsourced Labeling Tasks. JMLR 13 (2012),
section 3.1: an answer that does not depend on the truth has P(yes | yes) + P(no | no) − 1 = 0.
"""

import numpy as np
import pandas as pd

FEWEST = 10  # votes on each side, to say anything about both
INFORMED = 0.2  # below this, with 95 % certainty, the answers hardly depend on the question
CERTAIN = 1.96  # standard errors: 95 %
ONE_ANSWER = 0.95
HURRY = 0.25  # of the median worker's time per answer


def suspicions(sums: pd.DataFrame) -> list[str | None]:
    """A reason for each worker (a row of `worker_sums`), or None.

    - contrary: answers are the opposite of the others', more often than chance would have it
    - one answer: hardly depends on the question, and nearly all answers are the same
    - chance: hardly depends on the question
    - hurry: a quarter of the usual time or less, and none of the above

    The others are a measure only where the typical worker is informed: else the first three are never given. (It
    is not where questions were chosen by their answers, as when each class that somebody named was asked: without the
    own yes, the others then lean to no.)
    """
    yes, no = sums["yes_yes"] + sums["yes_no"], sums["no_yes"] + sums["no_no"]
    # One right and one wrong vote are added to each side (Agresti and Caffo, 2000).
    right_yes, right_no = (sums["yes_yes"] + 1) / (yes + 2), (sums["no_no"] + 1) / (no + 2)
    informed = right_yes + right_no - 1
    known = (yes >= FEWEST) & (no >= FEWEST)
    known &= informed[known].median() > INFORMED
    error = np.sqrt(right_yes * (1 - right_yes) / (yes + 2) + right_no * (1 - right_no) / (no + 2))
    idle = known & (informed + CERTAIN * error < INFORMED)
    most = sums[["yes", "no", "unsure"]].max(axis=1) / sums["answers"]
    pace = sums["seconds"] / sums["timed"].where(sums["timed"] >= FEWEST)
    reasons = np.select(
        [
            known & (informed + CERTAIN * error < 0),
            idle & (most >= ONE_ANSWER),
            idle,
            pace <= HURRY * pace.median(),
        ],
        ["contrary", "one answer", "chance", "hurry"],
        "",
    )
    return [str(reason) or None for reason in reasons]
