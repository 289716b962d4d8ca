import random
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.labels.votes import VOTE_ROWS, check_votes, settle_votes
from schemas.rejection import CODES
from schemas.retrieval import RETRIEVAL
from schemas.vote import VOTE

GOOD = {
    "image_id": "a",
    "class_name": "cat",
    "worker_id": "w1",
    "answer": "yes",
    "seconds": "3.5",
    "row": "v.csv:2",
}
AS_READ = pa.schema([(name, pa.string()) for name in [*VOTE.schema.names, "row"]])


def checked(*rows: dict[str, str | None]) -> tuple[pa.Table, pa.Table]:
    return check_votes(pa.Table.from_pylist(list(rows), schema=AS_READ))


def test_a_good_vote_passes() -> None:
    good, bad = checked(GOOD)
    assert good.schema == VOTE_ROWS
    assert good.to_pylist() == [GOOD | {"seconds": 3.5}]
    assert bad.num_rows == 0


@pytest.mark.parametrize(
    ("given", "read"), [("yes", "yes"), ("YES", "yes"), (" No ", "no"), ("Unsure\t", "unsure")]
)
def test_answers_are_read_without_regard_to_case_and_white_space(given: str, read: str) -> None:
    assert checked(GOOD | {"answer": given})[0]["answer"].to_pylist() == [read]


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("0", 0.0), ("1e1", 10.0), (None, None), ("soon", None), ("-3", None), ("nan", None), ("inf", None),
        ("1e300", None),
    ],
)  # fmt: skip
def test_an_unreadable_time_loses_no_vote(given: str | None, read: float | None) -> None:
    assert checked(GOOD | {"seconds": given})[0]["seconds"].to_pylist() == [read]


@pytest.mark.parametrize(
    ("code", "values", "detail"),
    [
        ("missing_value", {"image_id": None}, "all but seconds is needed"),
        ("missing_value", {"class_name": None}, "all but seconds is needed"),
        ("missing_value", {"worker_id": None}, "all but seconds is needed"),
        ("missing_value", {"answer": None}, "all but seconds is needed"),
        ("missing_value", {"worker_id": None, "answer": "perhaps"}, "all but seconds is needed"),
        ("unknown_answer", {"answer": "perhaps"}, "answer 'perhaps'; use yes, no or unsure"),
        ("unknown_answer", {"answer": "1"}, "answer '1'; use yes, no or unsure"),
        ("unknown_answer", {"answer": " "}, "answer ' '; use yes, no or unsure"),
    ],
)
def test_each_rule_has_its_code_and_says_what_to_do(
    code: str, values: dict[str, str | None], detail: str
) -> None:
    good, bad = checked(GOOD, GOOD | values | {"row": "v.csv:3"})
    assert good["row"].to_pylist() == ["v.csv:2"]
    assert bad.select(["row", "code", "detail"]).to_pylist() == [
        {"row": "v.csv:3", "code": code, "detail": detail}
    ]


VALUE = st.none() | st.sampled_from(["", "a", "yes", "NO", "?", "é\n", "1"])


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.fixed_dictionaries(dict.fromkeys(AS_READ.names, VALUE)), max_size=8))
def test_every_vote_is_good_or_rejected(rows: list[dict[str, str | None]]) -> None:
    rows = [row | {"row": f"v.csv:{i}"} for i, row in enumerate(rows)]
    good, bad = checked(*rows)
    places = good["row"].to_pylist() + bad["row"].to_pylist()
    assert sorted(places) == sorted(str(row["row"]) for row in rows)
    assert set(bad["code"].to_pylist()) <= set(CODES)


# Settling: which votes count

QUESTIONS = RETRIEVAL.from_rows([{"image_id": i, "class_name": c} for i in "ab" for c in ("cat", "dog")])


@pytest.fixture
def vote() -> Callable[..., dict[str, object]]:
    def row(place: str, **values: object) -> dict[str, object]:
        return GOOD | {"seconds": None, "row": place} | values

    return row


Vote = Callable[..., dict[str, object]]


def settled(
    votes: list[dict[str, object]], questions: pa.Table = QUESTIONS
) -> tuple[pd.DataFrame, dict[str, str]]:
    """(votes kept, place → code of the rejected)."""
    kept, bad = settle_votes(pa.Table.from_pylist(votes, schema=VOTE_ROWS), questions)
    return kept, dict(zip(bad["row"].to_pylist(), bad["code"].to_pylist(), strict=True))


def test_a_vote_about_an_image_that_was_never_asked_is_unknown(vote: Vote) -> None:
    kept, bad = settled([vote("v:2"), vote("v:3", image_id="z"), vote("v:4", class_name="cow")])
    assert list(kept["row"]) == ["v:2"]
    assert bad == {"v:3": "unknown_image", "v:4": "unknown_image"}


def test_of_a_workers_votes_on_one_question_the_first_counts(vote: Vote) -> None:
    votes = [
        vote("v:10", answer="no"),
        vote("v:9", answer="yes"),
        vote("w:2"),
        vote("v:11", class_name="dog"),
    ]
    kept, bad = settled(votes)
    assert list(zip(kept["row"], kept["answer"], strict=True)) == [("v:9", "yes"), ("v:11", "yes")]
    assert bad == {"v:10": "duplicate_vote", "w:2": "duplicate_vote"}


def test_without_votes_or_questions_nothing_is_settled(vote: Vote) -> None:
    kept, bad = settled([])
    assert (len(kept), bad) == (0, {})
    kept, bad = settled([vote("v:2")], QUESTIONS.slice(0, 0))
    assert (len(kept), bad) == (0, {"v:2": "unknown_image"})


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "image_id": st.sampled_from("abz"),
            "class_name": st.sampled_from(["cat", "cow"]),
            "worker_id": st.sampled_from(["w1", "w2"]),
            "answer": st.sampled_from(["yes", "no"]),
        }
    ),
    max_size=12,
)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(ROWS, st.randoms(use_true_random=False))
def test_settling_is_independent_of_the_order_and_loses_nothing(
    rows: list[dict[str, object]], dice: random.Random
) -> None:
    rows = [row | {"seconds": None, "row": f"{'uv'[i % 2]}.csv:{i + 2}"} for i, row in enumerate(rows)]
    kept, bad = settled(rows)
    again, same = settled(dice.sample(rows, len(rows)))
    assert (list(kept["row"]), bad) == (list(again["row"]), same)
    assert sorted([*kept["row"], *bad]) == sorted(str(row["row"]) for row in rows)

    counted: set[tuple[object, ...]] = set()
    for row in sorted(rows, key=lambda row: (str(row["row"])[0], int(str(row["row"]).split(":")[1]))):
        question = (row["image_id"], row["class_name"], row["worker_id"])
        known = row["image_id"] in "ab" and row["class_name"] == "cat"  # type: ignore[operator]
        expected = (
            None if known and question not in counted else "duplicate_vote" if known else "unknown_image"
        )
        assert bad.get(str(row["row"])) == expected
        counted.add(question)


def test_a_time_survives_settling(vote: Vote) -> None:
    kept, _ = settled([vote("v:2", seconds=2.5), vote("v:3", worker_id="w2")])
    assert kept["seconds"].tolist()[0] == 2.5
    assert np.isnan(kept["seconds"].tolist()[1])
