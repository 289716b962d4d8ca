import random
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.aggregate.drift import drifts
from pipeline.aggregate.vote_columns import encode_votes
from pipeline.aggregate.workers import add_worker_sums, worker_sums, worker_table
from schemas.vote import VOTE
from schemas.worker import WORKER
from tests.pipeline.aggregate.conftest import VOTES, Vote, coded

FEW = settings(derandomize=True, deadline=None, max_examples=30)


def table_of(*buckets: list[Vote]) -> dict[str, dict]:
    table = worker_table(add_worker_sums([worker_sums(coded(bucket)) for bucket in buckets]))
    assert table.schema == WORKER.schema
    return {row["worker_id"]: row for row in table.to_pylist()}


def test_a_worker_is_compared_with_the_others_alone() -> None:
    """With their own vote w1 would stand on the side of a tie; without it, against two."""
    result = table_of(
        [("a", "cat", "w1", "yes", 2.0), ("a", "cat", "w2", "no", 4.0), ("a", "cat", "w3", "no", None)]
    )
    assert result["w1"]["agreement"] == 0
    assert result["w2"]["agreement"] is None  # yes and no of the others are level
    assert [result[w]["seconds"] for w in ("w1", "w2", "w3")] == [2, 4, None]
    assert [result[w]["yes_share"] for w in ("w1", "w2", "w3")] == [1, 0, 0]


def test_nobody_is_judged_alone_or_for_being_unsure() -> None:
    result = table_of(
        [("a", "cat", "w1", "yes", None), ("b", "cat", "w2", "unsure", None), ("b", "cat", "w3", "no", None)]
    )
    assert [row["agreement"] for row in result.values()] == [None, None, None]


def over_time(right: Callable[[int], bool], days: Callable[[int], float | None]) -> dict[str, dict]:
    """w0 answers a question a day beside w1 and w2, who say yes."""
    columns = ("image_id", "class_name", "worker_id", "answer", "time")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    rows = []
    for k in range(80):
        at = days(k)
        time = None if at is None else start + timedelta(days=at)
        said = {"w0": "yes" if right(k) else "no", "w1": "yes", "w2": "yes"}
        rows += [dict(zip(columns, (f"i{k}", "cat", *pair, time), strict=True)) for pair in said.items()]
    halves = [encode_votes(pa.Table.from_pylist(part, VOTE.schema)) for part in (rows[150:], rows[:150])]
    return {
        row["worker_id"]: row
        for row in worker_table(add_worker_sums(list(map(worker_sums, halves)))).to_pylist()
    }


def test_who_becomes_careless_drifts():
    """Right at the first 40 questions, at every other one of the next 40."""
    result = over_time(lambda k: k < 40 or k % 2 == 0, float)["w0"]
    days, right = np.arange(80), np.array([k < 40 or k % 2 == 0 for k in range(80)])
    slope, _ = np.polyfit(days, right, 1)
    assert result["drift"] == pytest.approx(slope * np.std(days) * np.sqrt(12))
    # Cochran-Armitage: chi-square is n times the squared correlation.
    assert result["drift_z"] == pytest.approx(np.sqrt(80) * np.corrcoef(days, right)[0, 1])
    assert result["drift"] < -0.6
    assert result["drift_z"] < -4


def test_a_short_session_drifts_as_much_as_a_long_one():
    """The same answers within 20 minutes, and within 80 days."""

    def right(k: int) -> bool:
        return k < 40 or k % 2 == 0

    long, short = (over_time(right, day)["w0"] for day in (float, lambda k: k / 4 / 1440))
    assert short["drift"] == pytest.approx(long["drift"], rel=1e-3)
    assert short["drift_z"] == pytest.approx(long["drift_z"], rel=1e-3)


def test_no_trend_no_spread_or_few_votes_are_no_drift():
    def drift(right, days):
        row = over_time(right, days)["w0"]
        return row["drift"], row["drift_z"]

    steady = drift(lambda k: k % 5 > 0, float)
    assert abs(steady[0]) < 0.1
    assert abs(steady[1]) < 1
    assert drift(lambda k: k % 5 > 0, lambda k: 7.0) == (None, None)
    assert drift(lambda k: k % 5 > 0, lambda k: 7.123) == (None, None)
    assert drift(lambda k: k % 5 > 0, lambda k: float(k) if k < 19 else None) == (None, None)
    assert drift(lambda k: True, float) == (pytest.approx(0), None)  # never wrong: nothing to test


def test_chance_alone_drifts_beyond_the_limit_in_one_of_twenty():
    rng = np.random.default_rng(0)
    n, days = 2000, rng.uniform(0, 30, (2000, 60))
    right = rng.random((n, 60)) < 0.7
    sums = {"dated": 60, "dated_agree": right.sum(axis=1), "t": days.sum(axis=1), "tt": (days**2).sum(axis=1)}
    _, z = drifts(pd.DataFrame(sums | {"t_agree": (days * right).sum(axis=1)}))
    assert 0.035 < (z.abs() > 1.96).mean() < 0.065


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
    result, expected = table_of(votes), naive(votes)
    assert result.keys() == expected.keys()
    for worker, row in expected.items():
        shares = [row["yes"] / row["answers"]]
        shares += [sum(some) / len(some) if some else None for some in (row["agreed"], row["seconds"])]
        got = [result[worker][name] for name in ("yes_share", "agreement", "seconds")]
        assert result[worker]["answers"] == row["answers"]
        assert got == pytest.approx(shares)
        share, low, high = (result[worker][f"agreement{end}"] for end in ("", "_low", "_high"))
        if not (n := len(row["agreed"])):
            assert (low, high) == (None, None)
            continue
        # The bounds of Wilson's interval are the shares at which the score test just rejects what was seen.
        for bound in (low, high):
            assert (share - bound) ** 2 == pytest.approx(1.959964**2 * bound * (1 - bound) / n)
        assert low <= share + 1e-12
        assert high >= share - 1e-12


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
