"""The votes that make a noise level true: the cheapest first, and only as many as are needed."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import betabinom

from pipeline.aggregate.noise_questions import MEAN_YES, WEIGHT, found_share, noise_questions
from schemas.next_question import NEXT_QUESTION


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 4))
def test_the_chance_of_more_yes_votes_is_that_of_the_beta_binomial(yes, no, more):
    a, b = MEAN_YES * WEIGHT + yes, (1 - MEAN_YES) * WEIGHT + no
    result = found_share(np.array([yes]), np.array([no]), np.array([more]))
    assert result[0] == pytest.approx(betabinom.pmf(more, more, a, b), rel=1e-6)


def batch(rows: list[tuple[str, str, int, int, float]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows are image, verdict, yes, no, p_wrong."""
    names = ["image_id", "verdict", "yes", "no", "p_wrong"]
    verdicts = pd.DataFrame(rows, columns=names).assign(class_name="cat", unsure=0, posterior=0.2)
    return verdicts[["image_id", "class_name"]].assign(path="p", url=None), verdicts


WEAK = [(f"weak-{i}", "no", 1, 2, 0.7) for i in range(10)]
SURE = [(f"sure-{i}", "no", 0, 3, 0.98) for i in range(10)]
OTHER = [("yes", "yes", 3, 0, 0.01), ("tie", "undecided", 1, 1, 0.5)]


def test_the_weakest_verdicts_are_asked_first_and_only_as_many_as_needed():
    plan = noise_questions([batch(SURE + OTHER), batch(WEAK)], 0.06, 0.8, None)
    assert plan.questions.schema == NEXT_QUESTION.schema
    assert all(name.startswith("weak") for name in plan.questions["image_id"].to_pylist())
    assert plan.questions["votes_wanted"].to_pylist() == [1] * plan.questions.num_rows
    assert plan.before == pytest.approx(0.8 * (10 * 0.3 + 10 * 0.02) / 20)
    assert plan.after <= 0.06
    share = found_share(np.array([1]), np.array([2]), np.array([1]))[0]
    each = 0.8 * 0.3 * share / 20
    assert plan.after + each > 0.06  # one question fewer would not do
    assert plan.after == pytest.approx(plan.before - plan.questions.num_rows * each)


def test_nothing_is_asked_if_the_level_is_close_enough_and_the_budget_holds():
    assert noise_questions([batch(SURE)], 0.05, 0.8, None).questions.num_rows == 0
    assert noise_questions([batch(OTHER)], 0.05, 0.8, None).before == 0
    assert noise_questions([], 0.05, 0.8, None).questions.num_rows == 0  # ingest kept no row
    plan = noise_questions([batch(WEAK + SURE)], 0.01, 0.8, 4)
    assert sum(plan.questions["votes_wanted"].to_pylist()) == 4


def test_the_order_of_batches_does_not_matter():
    one = noise_questions([batch(WEAK), batch(SURE)], 0.02, 0.8, None)
    other = noise_questions([batch(SURE[::-1]), batch(WEAK[::-1])], 0.02, 0.8, None)
    assert one.questions.equals(other.questions)
