"""From settled votes to verdict and worker tables by the other methods than majority."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from common.errors import DataError
from pipeline.aggregate.gold import read_gold
from pipeline.aggregate.methods.convergence import MethodSettings
from pipeline.aggregate.methods.registry import estimate_posterior
from pipeline.aggregate.verdicts import (
    majority_verdicts,
    majority_with_posterior,
    resolve_ties,
    verdicts_by_method,
)
from pipeline.aggregate.vote_columns import join_columns
from pipeline.aggregate.workers import worker_sums, worker_table
from schemas.gold import GOLD
from schemas.verdict import VERDICT
from tests.pipeline.aggregate.conftest import Vote, coded

# w1 and w2 are right, w3 says the opposite, w4 says yes to everything; on d the two good ones are alone with w3.
TRUTH = {"a": "yes", "b": "no", "c": "yes", "d": "no", "e": "yes", "f": "no"}
OPPOSITE = {"yes": "no", "no": "yes"}


def crowd(copies: int = 8) -> list[Vote]:
    votes: list[Vote] = []
    for k in range(copies):
        for image, right in TRUTH.items():
            said = {"w1": right, "w2": right, "w3": OPPOSITE[right], "w4": "yes"}
            said |= {"w5": right} if image != "d" else {}
            votes += [(f"{image}{k}", "cat", worker, answer, 2.0) for worker, answer in said.items()]
    return votes


def verdicts(table: pa.Table) -> dict[str, str]:
    assert table.schema == VERDICT.schema
    return dict(zip(table["image_id"].to_pylist(), table["verdict"].to_pylist(), strict=True))


def test_dawid_skene_settles_what_majority_cannot():
    votes = coded(crowd())
    assert verdicts(majority_verdicts(coded(crowd()), 3))["d0"] == "undecided"
    table, result = verdicts_by_method(votes, "dawid-skene", MethodSettings(smoothing=0.1), 3)
    assert verdicts(table) == {f"{image}{k}": right for image, right in TRUTH.items() for k in range(8)}
    assert min(table["confidence"].to_pylist()) > 0.9
    posterior = dict(zip(table["image_id"].to_pylist(), table["posterior"].to_pylist(), strict=True))
    assert posterior["d0"] < 0.1
    skill = dict(zip(votes.workers, result.skill, strict=True))
    assert skill["w1"] > 0.95
    assert skill["w3"] < 0.1


def test_buckets_joined_are_the_votes_together():
    first = [vote for vote in crowd() if vote[0][0] in "abf"]
    parts = [coded(first), coded([vote for vote in crowd() if vote not in first]), coded([])]
    one, _ = verdicts_by_method(join_columns(parts), "dawid-skene", MethodSettings(), 3)
    other, _ = verdicts_by_method(coded(crowd()), "dawid-skene", MethodSettings(), 3)
    assert verdicts(one) == verdicts(other)
    assert join_columns([]).matrix().n_items == 0


def test_too_few_votes_stay_undecided_unless_gold_knows():
    votes = coded([("a", "cat", "w1", "yes", None), ("b", "cat", "w1", "yes", None)])
    gold = GOLD.from_rows([{"image_id": "b", "class_name": "cat", "answer": "no"}])
    table, _ = verdicts_by_method(votes, "dawid-skene", MethodSettings(), 3, gold=gold)
    assert verdicts(table) == {"a": "undecided", "b": "no"}
    assert table["posterior"].to_pylist()[1] == 0


def test_a_verdict_needs_more_than_min_confidence():
    votes = coded([("a", "cat", f"w{k}", answer, None) for k, answer in enumerate(["yes", "yes", "no"])])
    assert verdicts(verdicts_by_method(votes, "majority", MethodSettings(), 3, min_confidence=0.5)[0]) == {
        "a": "yes"
    }
    assert verdicts(verdicts_by_method(votes, "majority", MethodSettings(), 3, min_confidence=0.9)[0]) == {
        "a": "undecided"
    }


def test_policies_for_ties():
    rows = coded([*crowd(), ("few", "cat", "w1", "yes", None)])
    table = majority_verdicts(rows, 3)
    assert resolve_ties(table, "drop", 3, 0) is table
    assert resolve_ties(table, "ask", 3, 0) is table
    result = estimate_posterior(rows.matrix(), "dawid-skene", MethodSettings(smoothing=0.1))
    by_posterior = majority_with_posterior(rows, result.probabilities, 3)
    assert by_posterior["verdict"].equals(table["verdict"])
    settled = verdicts(resolve_ties(by_posterior, "posterior", 3, 0))
    assert {settled[f"d{k}"] for k in range(8)} == {"no"}
    assert settled["few"] == "undecided"  # too few votes are no tie

    drawn = verdicts(resolve_ties(table, "seeded", 3, 0))
    assert {drawn[f"d{k}"] for k in range(8)} == {"yes", "no"}
    assert drawn["few"] == "undecided"
    assert drawn == verdicts(resolve_ties(table, "seeded", 3, 0))
    assert drawn != verdicts(resolve_ties(table, "seeded", 3, 1))
    unchanged = verdicts(table)
    assert all(drawn[image] == verdict for image, verdict in unchanged.items() if verdict != "undecided")


def test_an_exact_tie_has_no_more_probable_answer():
    table = majority_verdicts(coded([("a", "cat", "w1", "yes", None), ("a", "cat", "w2", "no", None)]), 2)
    assert verdicts(resolve_ties(table, "posterior", 2, 0)) == {"a": "undecided"}


def test_workers_carry_confusion_skill_and_a_reason_to_look():
    good = [
        (f"{image}{k}", "cat", worker, right, 2.0)
        for k in range(12)
        for image, right in TRUTH.items()
        for worker in ("w7", "w8")
    ]
    rows = coded([*crowd(12), *good, *((f"a{k}", "cat", "w6", "yes", 0.2) for k in range(12))])
    table = worker_table(worker_sums(rows), {"w1": 0.75})
    result = {row["worker_id"]: row for row in table.to_pylist()}
    assert result["w1"]["skill"] == 0.75
    assert result["w2"]["skill"] is None
    assert result["w3"]["yes_when_yes"] == 0
    assert result["w4"]["yes_when_yes"] == 1
    assert result["w4"]["no_when_no"] == 0
    reasons = {worker: row["suspicion"] for worker, row in result.items()}
    assert reasons == {
        "w1": None, "w2": None, "w3": "contrary", "w4": "one answer", "w5": None, "w6": "hurry",
        "w7": None, "w8": None,
    }  # fmt: skip


def test_many_equal_answers_where_all_is_equal_are_no_reason():
    votes = [(f"i{k}", "cat", worker, "no", 1.0) for k in range(1000) for worker in ("w1", "w2", "w3")]
    assert worker_table(worker_sums(coded(votes)))["suspicion"].to_pylist() == [None, None, None]


def test_questions_chosen_by_their_answers_make_nobody_suspicious():
    """Three workers choose one of two classes; each class that one of them named is a question."""
    rng = np.random.default_rng(0)
    votes: list[Vote] = []
    for k in range(300):
        chosen = ["cat" if rng.random() < 0.7 else "dog" for _ in range(3)]
        for name in sorted(set(chosen)):
            votes += [
                (f"i{k}", name, f"w{w}", "yes" if c == name else "no", 1.0) for w, c in enumerate(chosen)
            ]
    table = worker_table(worker_sums(coded(votes)))
    assert table["no_when_no"].to_pylist() == [0, 0, 0]
    assert table["suspicion"].to_pylist() == [None, None, None]


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("a,cat,maybe\n", "gold.csv:2: a gold question needs"),
        ("a,,yes\n", "gold.csv:2: a gold question needs"),
        ("a,cat,yes\na,cat,no\n", "gold.csv:3: the answer is no, but an earlier row has yes"),
        ("a,cat\n", "gold.csv:2: 2 fields instead of 3"),
    ],
)
def test_gold_must_be_right(tmp_path, text, reported):
    path = tmp_path / "gold.csv"
    path.write_text("image_id,class_name,answer\n" + text)
    with pytest.raises(DataError, match=reported):
        read_gold(str(path))


def test_gold_names_known_classes(tmp_path):
    path = tmp_path / "gold.csv"
    path.write_text("image_id,class_name,answer\na,CAT,yes\nb,dgo,no\n")
    assert read_gold(str(path)).num_rows == 2
    with pytest.raises(DataError, match=r'gold.csv:3: unknown class \'dgo\' \(did you mean "dog"\?\); fix'):
        read_gold(str(path), None, ["cat", "dog"])


@pytest.mark.parametrize("rows", [0, 2])
def test_a_gold_list_without_rows_is_reported(tmp_path, rows):
    columns = [pa.nulls(rows, pa.string()) for _ in GOLD.schema]
    parquet.write_table(pa.table(columns, GOLD.schema.names), tmp_path / "gold.parquet")
    with pytest.raises(DataError, match=r"gold.parquet: the file has no rows"):
        read_gold(str(tmp_path / "gold.parquet"))


def test_gold_is_read(tmp_path):
    path = tmp_path / "gold.csv"
    path.write_text("image_id,class_name,answer\na,cat, Yes\na,cat,yes\nb,cat,no\n")
    assert [tuple(row.values()) for row in read_gold(str(path)).to_pylist()] == [
        ("a", "cat", "yes"),
        ("b", "cat", "no"),
    ]


def test_counts_by_hand():
    votes = coded(crowd(1))
    np.testing.assert_array_equal(votes.counts()[3], [2, 2, 0])
    assert votes.workers.tolist() == ["w1", "w2", "w3", "w4", "w5"]
