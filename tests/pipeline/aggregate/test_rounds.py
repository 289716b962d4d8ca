"""What to ask next."""

import numpy as np
import pandas as pd
import pytest

from pipeline.aggregate.majority import majority
from pipeline.aggregate.rounds import expected_gain, next_questions, sidedness
from schemas.next_question import NEXT_QUESTION
from tests.pipeline.aggregate.conftest import coded


def asked(said: dict[str, str], budget: int, **more) -> list[tuple[str, int]]:
    """`said` has the answers to each image, as letters y, n and u."""
    words = {"y": "yes", "n": "no", "u": "unsure"}
    votes = [
        (image, "cat", f"w{k}", words[a], None) for image, text in said.items() for k, a in enumerate(text)
    ]
    questions = pd.DataFrame({"image_id": list(said), "class_name": "cat", "path": "p", "url": None})
    table = next_questions(questions, majority(coded(votes), 3).to_pandas(), budget, 3, 5, **more)
    assert table.schema == NEXT_QUESTION.schema
    assert sum(table["ask"].to_pylist()) <= budget
    return list(zip(table["image_id"].to_pylist(), table["ask"].to_pylist(), strict=True))


def test_first_three_votes_then_up_to_five_where_they_settle_nothing():
    said = {
        "new": "",
        "one": "y",
        "settled": "yyn",
        "split": "ynu",
        "four": "yynn",
        "five": "yynnu",
        "sure": "yyy",
    }
    assert asked(said, 100) == [("one", 2), ("new", 3), ("split", 1), ("four", 1)]
    assert asked(said, 100, ask_again=True)[-1] == ("five", 1)


def test_the_budget_is_in_answers_and_is_spent_in_order():
    said = {"new": "", "one": "y", "split": "ynu", "four": "yynn"}
    assert asked(said, 6) == [("one", 2), ("new", 3), ("split", 1)]
    assert asked(said, 4) == [("one", 2)]
    assert asked(said, 1) == []
    assert asked({"split": "ynu", "four": "yynn"}, 1) == [("split", 1)]


def test_equal_questions_come_in_an_order_of_their_own():
    said = {f"i{k}": "ynu" for k in range(20)}
    found = asked(said, 100)
    assert found == asked(dict(reversed(said.items())), 100)
    assert found != sorted(found)


def test_the_gain_is_the_expected_fall_of_entropy():
    """One question by hand: two yes, one no, posterior 0.8; the next vote is right with probability r."""
    counts = np.array([[2, 1, 0]])
    r = sidedness(np.array([2.0]), np.array([1.0]))[0]
    p = (3 * 0.8 + 1) / 5
    entropy = lambda q: -q * np.log2(q) - (1 - q) * np.log2(1 - q)  # noqa: E731
    yes = p * r + (1 - p) * (1 - r)
    fall = entropy(p) - yes * entropy(p * r / yes) - (1 - yes) * entropy(p * (1 - r) / (1 - yes))
    assert expected_gain(counts, np.array([0.8]))[0] == pytest.approx(fall * 5 / 6)


def test_gain_falls_with_certainty_votes_and_unsure_answers():
    counts = np.array([[0, 0, 0], [1, 1, 0], [2, 2, 0], [1, 1, 2]])
    gain = expected_gain(counts, np.full(4, 0.5))
    assert gain[0] > gain[1] > gain[2]
    assert gain[1] > gain[3]
    doubt = expected_gain(np.tile([2, 1, 0], (4, 1)), np.array([0.5, 0.7, 0.9, 0.99]))
    assert (np.diff(doubt) < 0).all()
    extreme = expected_gain(np.array([[5000, 0, 0], [0, 0, 5000]]), np.array([1.0, 0.5]))
    assert (extreme >= 0).all()
    assert extreme[0] < 0.01


def test_sidedness_is_the_mean_of_the_larger_share():
    rng = np.random.default_rng(0)
    for yes, no in ((0, 0), (3, 1), (2, 2), (0, 5)):
        drawn = rng.beta(yes + 1, no + 1, 200_000)
        expected = np.maximum(drawn, 1 - drawn).mean()
        assert sidedness(np.array([yes * 1.0]), np.array([no * 1.0]))[0] == pytest.approx(expected, abs=3e-3)
