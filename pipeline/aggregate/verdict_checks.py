"""Metrics of verdicts, and the warnings about a method that follow from them."""

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

MILLION = 1_000_000  # sums of probabilities are counted in millionths, since sums of integers do not depend on their order
MAX_OVERTURNED = 0.05  # of 170,737 on rater votes dawid-skene, the most accurate, overturns 2.6 %, mace, the least, 9.5 % of the majorities
MIN_VERDICTS = 100
MAX_DISAGREEMENT = 0.1  # between the probability of a method and that of the error model

_OVERTURNED = ("majority_yes", "majority_no", "overturned_yes", "overturned_no")
METRICS = (*_OVERTURNED, "estimated", "p_wrong_millionths", "model_p_wrong_millionths")


def verdict_metrics(table: pa.Table, model_p_wrong: np.ndarray) -> Counter[str]:
    """Count the majorities that verdicts overturn, and add up P(wrong) of the verdicts no.

    model_p_wrong: float64 (n,), by the error model, NaN without one.
    """
    verdict = table["verdict"].to_numpy()
    yes, no, unsure = (table[name].to_numpy().astype(np.int64) for name in ("yes", "no", "unsure"))
    most_yes, most_no = 2 * yes > yes + no + unsure, 2 * no > yes + no + unsure
    is_no, is_yes = verdict == "no", verdict == "yes"
    p_wrong = table["p_wrong"].to_numpy().astype(np.float64)
    chosen = is_no & ~np.isnan(p_wrong) & ~np.isnan(model_p_wrong)
    return Counter(
        majority_yes=int((most_yes & (is_yes | is_no)).sum()),
        majority_no=int((most_no & (is_yes | is_no)).sum()),
        overturned_yes=int((most_yes & is_no).sum()),
        overturned_no=int((most_no & is_yes).sum()),
        estimated=int(chosen.sum()),
        p_wrong_millionths=int(np.rint(p_wrong[chosen] * MILLION).sum()),
        model_p_wrong_millionths=int(np.rint(model_p_wrong[chosen] * MILLION).sum()),
    )


def warnings(counts: Mapping[str, int], method: str) -> Iterator[str]:
    """Yield a sentence for each sign that the verdicts of a method are wrong; `counts` of the verdict manifest."""
    if counts.get("gold_questions") == 0:  # absent without a gold list
        yield (
            "no gold question matches a candidate or a clean image, so none is used: compare image_id and class_name of "
            "aggregate.gold with the lists"
        )
    yes, no = counts.get("yes", 0), counts.get("no", 0)
    decided = yes + no
    if decided >= MIN_VERDICTS and not (yes and no):
        verdict = "yes" if yes else "no"
        yield (
            f"all {decided:,} verdicts of {method} are {verdict}: the method does not distinguish right from wrong images; use another "
            "aggregate.method, or add gold questions"
        )
    majorities = counts.get("majority_yes", 0) + counts.get("majority_no", 0)
    to_no, to_yes = counts.get("overturned_yes", 0), counts.get("overturned_no", 0)
    if majorities >= MIN_VERDICTS and to_no + to_yes > MAX_OVERTURNED * majorities:
        yield (
            f"{method} overturns {to_no + to_yes:,} of {majorities:,} strict majorities ({(to_no + to_yes) / majorities:.1%}; "
            f"{to_no:,} from yes to no, {to_yes:,} from no to yes): check a sample of them by hand, or use method: majority"
        )
    estimated = counts.get("estimated", 0)
    if estimated >= MIN_VERDICTS:
        by_method = counts.get("p_wrong_millionths", 0) / MILLION / estimated
        by_model = counts.get("model_p_wrong_millionths", 0) / MILLION / estimated
        if by_method - by_model > MAX_DISAGREEMENT:
            yield (
                f"by the posterior of {method}, {by_method:.1%} of its verdicts no are right, by the error model of the votes "
                f"{by_model:.1%}: the true noise levels are probably lower than estimated; use method: majority, or add gold questions"
            )
