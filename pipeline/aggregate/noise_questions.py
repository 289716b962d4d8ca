"""Choose the votes that bring the true noise level close to the nominal one at the lowest cost.

The true level of a set is below the nominal one because some images with the verdict no show the class after all. More
votes find such images. Once the yes votes equal the no votes, the verdict is undecided and the image is not used.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.aggregate.next_questions import expected_bits
from pipeline.aggregate.vote_columns import QUESTION
from pipeline.keyed_hash import keyed_hash
from schemas.next_question import NEXT_QUESTION
from schemas.vote import ANSWERS

# Share of yes votes on an image that shows the class, before its votes are known, as in vote_likelihood: mean and weight
# of a beta distribution (intraclass correlation 0.1).
MEAN_YES, WEIGHT = 0.83, 9.0
GAIN_DIGITS = 9


@dataclass(frozen=True)
class NoisePlan:
    """Questions of the next round, best first (NEXT_QUESTION), and the error of the level before and after it.

    Both are differences between nominal and expected true level at the highest level, as shares of all labels.
    """

    questions: pa.Table
    before: float
    after: float


def noise_questions(
    batches: Iterable[tuple[pd.DataFrame, pd.DataFrame]], tolerance: float, level: float, budget: int | None
) -> NoisePlan:
    """Return the fewest votes after which the expected true level is within `tolerance` of the nominal `level`.

    Batches as in `next_questions`. Every question with the verdict no may be asked again, with as many votes as it lacks for
    a tie. They are ordered by the expected share of images that this removes, for each vote, then by a
    keyed hash. The list ends when the tolerance is met, or before the first question that exceeds the `budget` of votes.

    Memory is proportional to the number of questions with the verdict no.
    """
    parts = [_wrong_pairs(*batch) for batch in batches]
    if not any(map(len, parts)):
        return NoisePlan(NEXT_QUESTION.schema.empty_table(), 0.0, 0.0)
    rows = pd.concat(parts, ignore_index=True)
    right = 1 - rows["p_wrong"].to_numpy(np.float64)
    gain = right * found_share(rows["yes"].to_numpy(), rows["no"].to_numpy(), rows["votes_wanted"].to_numpy())
    names = ("\n".join(pair) for pair in zip(*(rows[name] for name in QUESTION), strict=True))
    hashes = keyed_hash(names, 0, "noise-questions")
    order = np.lexsort((hashes, -np.round(gain / rows["votes_wanted"].to_numpy(), GAIN_DIGITS)))
    scale = level / len(rows)
    before = float(right.sum()) * scale
    left = before - np.cumsum(gain[order]) * scale
    wanted = int(np.searchsorted(-left, -tolerance)) + 1 if before > tolerance else 0
    votes = np.cumsum(rows["votes_wanted"].to_numpy()[order])
    number = min(wanted, len(order))
    if budget is not None:
        number = min(number, int(np.searchsorted(votes, budget, side="right")))
    chosen = rows.iloc[order[:number]]
    chosen = chosen.assign(
        expected_bits=expected_bits(
            chosen[list(ANSWERS)].to_numpy(), chosen["posterior"].to_numpy(np.float64)
        )
    )
    arrays = [pa.array(chosen[field.name], field.type, from_pandas=True) for field in NEXT_QUESTION.schema]
    after = float(left[number - 1]) if number else before
    return NoisePlan(pa.table(arrays, schema=NEXT_QUESTION.schema), before, after)


def found_share(yes: np.ndarray, no: np.ndarray, more: np.ndarray) -> np.ndarray:
    """Return the chance that the next `more` votes on images that show the class are all yes, float64 (n,).

    The share of yes votes has a beta distribution with mean MEAN_YES, updated by the votes so far, int (n,) each.
    """
    a, total = MEAN_YES * WEIGHT + yes, WEIGHT + yes + no
    result = np.ones(len(a))
    for step in range(int(np.max(more, initial=0))):
        result = np.where(step < more, result * (a + step) / (total + step), result)
    return result


def _wrong_pairs(questions: pd.DataFrame, verdicts: pd.DataFrame) -> pd.DataFrame:
    """Return the questions of a batch with the verdict no that may be wrong, with `votes_wanted`."""
    chosen = verdicts[(verdicts["verdict"] == "no") & verdicts["p_wrong"].notna()]
    columns = [*QUESTION, *ANSWERS, "posterior", "p_wrong"]
    rows = questions[[*QUESTION, "path", "url"]].merge(chosen[columns], on=QUESTION, how="inner")
    rows[list(ANSWERS)] = rows[list(ANSWERS)].astype(np.int64)
    return rows.assign(votes_wanted=np.maximum(rows["no"] - rows["yes"], 1))
