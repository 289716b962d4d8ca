"""Which questions are asked next."""

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline.aggregate import next_questions as module
from pipeline.aggregate.next_questions import expected_bits, expected_majority_share, next_questions
from pipeline.aggregate.verdicts import majority_verdicts
from schemas.next_question import NEXT_QUESTION
from tests.pipeline.aggregate.conftest import coded

WORDS = {"y": "yes", "n": "no", "u": "unsure"}


def batch(votes: dict[str, str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Questions and verdicts; `votes` has the answers to each image as letters y, n and u."""
    rows = [
        (image, "cat", f"w{k}", WORDS[a], None) for image, text in votes.items() for k, a in enumerate(text)
    ]
    questions = pd.DataFrame({"image_id": list(votes), "class_name": "cat", "path": "p", "url": None})
    return questions, majority_verdicts(coded(rows), 3).to_pandas()


def asked(votes: dict[str, str], budget: int, **more: bool) -> list[tuple[str, int]]:
    table = next_questions([batch(votes)], budget, 3, 5, **more)
    assert table.schema == NEXT_QUESTION.schema
    assert sum(table["votes_wanted"].to_pylist()) <= budget
    return list(zip(table["image_id"].to_pylist(), table["votes_wanted"].to_pylist(), strict=True))


def test_three_votes_first_then_up_to_five_where_undecided():
    votes = {
        "new": "",
        "one": "y",
        "settled": "yyn",
        "split": "ynu",
        "four": "yynn",
        "five": "yynnu",
        "sure": "yyy",
    }
    assert asked(votes, 100) == [("one", 2), ("new", 3), ("split", 1), ("four", 1)]
    assert asked(votes, 100, ignore_max_votes=True)[-1] == ("five", 1)


def test_the_budget_is_in_answers_and_is_spent_in_order():
    votes = {"new": "", "one": "y", "split": "ynu", "four": "yynn"}
    assert asked(votes, 6) == [("one", 2), ("new", 3), ("split", 1)]
    assert asked(votes, 4) == [("one", 2)]
    assert asked(votes, 1) == []
    assert asked({"split": "ynu", "four": "yynn"}, 1) == [("split", 1)]


def random_votes(count: int) -> dict[str, str]:
    rng = np.random.default_rng(0)
    return {f"i{k}": "".join(rng.choice(list("ynu"), rng.integers(0, 6))) for k in range(count)}


@pytest.mark.parametrize("budget", [1, 2, 3, 7, 50, 100_000])
@pytest.mark.parametrize("batch_rows", [1, 20])
def test_many_batches_give_the_same_questions_as_one(
    budget: int, batch_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    votes = random_votes(200)
    whole = next_questions([batch(votes)], budget, 3, 5)
    monkeypatch.setattr(module, "BATCH_ROWS", batch_rows)
    names = list(votes)
    parts = [batch({name: votes[name] for name in names[start : start + 8]}) for start in range(0, 200, 8)]
    assert next_questions(parts, budget, 3, 5).equals(whole)
    assert next_questions(parts[::-1], budget, 3, 5).equals(whole)


def test_memory_does_not_grow_with_the_number_of_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_ROWS", 1000)

    def batches(count: int) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
        _, none = batch({})
        for number in range(count):
            names = [f"i{number}-{k}" for k in range(1000)]
            yield pd.DataFrame({"image_id": names, "class_name": "cat", "path": names, "url": None}), none

    def peak(count: int) -> int:
        tracemalloc.start()
        assert next_questions(batches(count), 500, 3, 5).num_rows == 166
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result

    peak(1)  # imports
    assert peak(64) < 2 * peak(8)


def test_no_questions_give_an_empty_table() -> None:
    assert next_questions([], 10, 3, 5).equals(NEXT_QUESTION.schema.empty_table())
    assert isinstance(next_questions([batch({"a": "yyy"})], 10, 3, 5), pa.Table)


def test_equal_questions_come_in_an_order_of_their_own():
    votes = {f"i{k}": "ynu" for k in range(20)}
    result = asked(votes, 100)
    assert result == asked(dict(reversed(votes.items())), 100)
    assert result != sorted(result)


def test_the_gain_is_the_expected_fall_of_entropy():
    """One question by hand: two yes, one no, posterior 0.8; the next vote is right with probability r."""
    counts = np.array([[2, 1, 0]])
    r = expected_majority_share(np.array([2.0]), np.array([1.0]))[0]
    p = (3 * 0.8 + 1) / 5
    entropy = lambda q: -q * np.log2(q) - (1 - q) * np.log2(1 - q)  # noqa: E731
    yes = p * r + (1 - p) * (1 - r)
    fall = entropy(p) - yes * entropy(p * r / yes) - (1 - yes) * entropy(p * (1 - r) / (1 - yes))
    assert expected_bits(counts, np.array([0.8]))[0] == pytest.approx(fall * 5 / 6)


def test_gain_falls_with_certainty_votes_and_unsure_answers():
    counts = np.array([[0, 0, 0], [1, 1, 0], [2, 2, 0], [1, 1, 2]])
    gain = expected_bits(counts, np.full(4, 0.5))
    assert gain[0] > gain[1] > gain[2]
    assert gain[1] > gain[3]
    doubt = expected_bits(np.tile([2, 1, 0], (4, 1)), np.array([0.5, 0.7, 0.9, 0.99]))
    assert (np.diff(doubt) < 0).all()
    extreme = expected_bits(np.array([[5000, 0, 0], [0, 0, 5000]]), np.array([1.0, 0.5]))
    assert (extreme >= 0).all()
    assert extreme[0] < 0.01


def test_the_majority_share_is_the_mean_of_the_larger_share():
    rng = np.random.default_rng(0)
    for yes, no in ((0, 0), (3, 1), (2, 2), (0, 5)):
        drawn = rng.beta(yes + 1, no + 1, 200_000)
        expected = np.maximum(drawn, 1 - drawn).mean()
        assert expected_majority_share(np.array([yes * 1.0]), np.array([no * 1.0]))[0] == pytest.approx(
            expected, abs=3e-3
        )
