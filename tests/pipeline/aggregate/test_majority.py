import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.aggregate.verdicts import majority_verdicts
from schemas.verdict import VERDICT
from tests.pipeline.aggregate.conftest import VOTES, Vote, coded

FEW = settings(derandomize=True, deadline=None, max_examples=30)


def on_one(*answers: str) -> list[Vote]:
    return [("a", "cat", f"w{i}", answer, None) for i, answer in enumerate(answers)]


@pytest.mark.parametrize(
    ("answers", "verdict", "confidence"),
    [
        ("yes yes yes", "yes", 1),
        ("no yes no", "no", 2 / 3),
        ("yes yes unsure", "yes", 2 / 3),
        ("yes no unsure", "undecided", 1 / 3),
        ("unsure unsure unsure", "undecided", 0),
        ("yes unsure unsure", "undecided", 1 / 3),  # the larger side, but no majority of all votes
        ("yes yes unsure unsure", "undecided", 1 / 2),
        ("yes yes no no", "undecided", 1 / 2),
        ("yes yes no no yes", "yes", 3 / 5),
        ("yes yes no unsure unsure", "undecided", 2 / 5),
        ("yes yes", "undecided", 1),  # too few
        ("no", "undecided", 1),
    ],
)
def test_a_verdict_needs_more_than_half_of_at_least_three_votes(
    answers: str, verdict: str, confidence: float
) -> None:
    (row,) = majority_verdicts(coded(on_one(*answers.split())), 3).to_pylist()
    assert row["verdict"] == verdict
    assert row["confidence"] == pytest.approx(confidence)


def test_the_least_number_of_votes_is_a_choice() -> None:
    assert majority_verdicts(coded(on_one("no")), 1)["verdict"].to_pylist() == ["no"]
    assert majority_verdicts(coded(on_one("no", "no", "no")), 4)["verdict"].to_pylist() == ["undecided"]


def test_no_votes_are_no_verdicts() -> None:
    table = majority_verdicts(coded([]), 3)
    assert (table.num_rows, table.schema) == (0, VERDICT.schema)


def naive(votes: list[Vote], min_votes: int) -> list[tuple]:
    answers: dict[tuple[str, str], Counter[str]] = {}
    for image_id, class_name, _, answer, _ in votes:
        answers.setdefault((image_id, class_name), Counter())[answer] += 1
    rows = []
    for question, count in sorted(answers.items()):
        total, verdict = count.total(), "undecided"
        for side in ("yes", "no"):
            if total >= min_votes and count[side] > total / 2:
                verdict = side
        rows.append(
            (
                *question,
                verdict,
                count["yes"],
                count["no"],
                count["unsure"],
                max(count["yes"], count["no"]) / total,
                (count["yes"] + count["unsure"] / 2) / total,
            )
        )
    return rows


@FEW
@given(VOTES, st.integers(1, 5))
def test_it_equals_counting_by_hand(votes: list[Vote], min_votes: int) -> None:
    table = majority_verdicts(coded(votes), min_votes)
    assert table.schema == VERDICT.schema
    result = [tuple(row.values())[:8] for row in table.to_pylist()]
    expected = naive(votes, min_votes)
    assert [row[:6] for row in result] == [row[:6] for row in expected]
    for counted, by_hand in zip(result, expected, strict=True):
        assert counted[6:] == pytest.approx(by_hand[6:])


@FEW
@given(VOTES, st.randoms(use_true_random=False))
def test_neither_the_order_of_votes_nor_the_names_of_workers_matter(
    votes: list[Vote], dice: random.Random
) -> None:
    shuffled = [(i, c, f"other-{w}", a, s) for i, c, w, a, s in dice.sample(votes, len(votes))]
    assert majority_verdicts(coded(shuffled), 3) == majority_verdicts(coded(votes), 3)


@FEW
@given(VOTES)
def test_swapping_yes_and_no_swaps_the_verdicts(votes: list[Vote]) -> None:
    swap = {"yes": "no", "no": "yes"}
    mirrored = majority_verdicts(coded([(i, c, w, swap.get(a, a), s) for i, c, w, a, s in votes]), 3)
    expected = [
        swap.get(verdict, verdict) for verdict in majority_verdicts(coded(votes), 3)["verdict"].to_pylist()
    ]
    assert mirrored["verdict"].to_pylist() == expected
