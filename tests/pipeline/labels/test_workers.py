import random
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.labels.workers import worker_sums, worker_table
from schemas.worker import WORKER
from tests.pipeline.labels.conftest import VOTES, Vote, frame

FEW = settings(derandomize=True, deadline=None, max_examples=30)


def table_of(*buckets: list[Vote]) -> dict[str, dict]:
    table = worker_table(worker_sums(frame(bucket)) for bucket in buckets)
    assert table.schema == WORKER.schema
    return {row["worker_id"]: row for row in table.to_pylist()}


def test_a_worker_is_compared_with_the_others_alone() -> None:
    """With their own vote w1 would stand on the side of a tie; without it, against two."""
    found = table_of(
        [("a", "cat", "w1", "yes", 2.0), ("a", "cat", "w2", "no", 4.0), ("a", "cat", "w3", "no", None)]
    )
    assert found["w1"]["agreement"] == 0
    assert found["w2"]["agreement"] is None  # yes and no of the others are level
    assert [found[w]["seconds"] for w in ("w1", "w2", "w3")] == [2, 4, None]
    assert [found[w]["yes_share"] for w in ("w1", "w2", "w3")] == [1, 0, 0]


def test_nobody_is_judged_alone_or_for_being_unsure() -> None:
    found = table_of(
        [("a", "cat", "w1", "yes", None), ("b", "cat", "w2", "unsure", None), ("b", "cat", "w3", "no", None)]
    )
    assert [row["agreement"] for row in found.values()] == [None, None, None]


def test_no_votes_are_no_workers() -> None:
    assert table_of() == table_of([]) == table_of([], []) == {}


def naive(votes: list[Vote]) -> dict[str, dict]:
    rows: dict[str, dict] = defaultdict(lambda: {"answers": 0, "yes": 0, "agreed": [], "seconds": []})
    for image_id, class_name, worker, answer, seconds in votes:
        row = rows[worker]
        row["answers"] += 1
        row["yes"] += answer == "yes"
        if seconds is not None:
            row["seconds"].append(seconds)
        others = [v[3] for v in votes if v[:2] == (image_id, class_name) and v[2] != worker]
        yes, no = others.count("yes"), others.count("no")
        if answer != "unsure" and yes != no:
            row["agreed"].append(answer == ("yes" if yes > no else "no"))
    return rows


@FEW
@given(VOTES)
def test_it_equals_counting_by_hand(votes: list[Vote]) -> None:
    found, expected = table_of(votes), naive(votes)
    assert found.keys() == expected.keys()
    for worker, row in expected.items():
        shares = [row["yes"] / row["answers"]]
        shares += [sum(some) / len(some) if some else None for some in (row["agreed"], row["seconds"])]
        got = [found[worker][name] for name in ("yes_share", "agreement", "seconds")]
        assert found[worker]["answers"] == row["answers"]
        assert got == pytest.approx(shares)


@FEW
@given(VOTES, st.dictionaries(st.sampled_from("abc"), st.integers(0, 2)), st.randoms(use_true_random=False))
def test_sums_add_up_over_any_buckets_of_images(
    votes: list[Vote], bucket_of: dict[str, int], dice: random.Random
) -> None:
    buckets = [[v for v in votes if bucket_of.get(v[0], 0) == index] for index in range(3)]
    # Seconds are whole numbers here, so that their sums are exact in any order.
    assert table_of(*dice.sample(buckets, 3)) == table_of(votes)


@FEW
@given(VOTES, st.randoms(use_true_random=False))
def test_the_order_of_votes_does_not_matter(votes: list[Vote], dice: random.Random) -> None:
    assert table_of(dice.sample(votes, len(votes))) == table_of(votes)


def test_the_mean_time_is_the_same_in_whatever_order_the_buckets_arrive() -> None:
    """Sums of floating-point numbers depend on their order, so the order is fixed."""
    buckets = [[(f"i{k}", "cat", "w1", "yes", second)] for k, second in enumerate((1e8, 0.1, 0.2, 0.3, 1e-3))]
    assert table_of(*buckets) == table_of(*reversed(buckets))
