import random
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import DataError
from pipeline import values
from pipeline.aggregate.vote_validation import (
    MAX_VOTES,
    VOTE_ROWS,
    check_vote_rows,
    read_answers,
    select_valid_votes,
)
from pipeline.values import suggestion
from schemas.rejection import CODES
from schemas.retrieval import RETRIEVAL
from schemas.vote import ANSWERS, VOTE

GOOD = {
    "image_id": "a",
    "class_name": "cat",
    "worker_id": "w1",
    "answer": "yes",
    "seconds": "3.5",
    "time": "2026-11-22T16:00:00Z",
    "seen_class": None,
    "location": "v.csv:2",
}
AS_READ = pa.schema([(name, pa.string()) for name in [*VOTE.schema.names, "location"]])


def checked(*rows: dict[str, str | None], answer_classes: tuple[str, ...] = ()) -> tuple[pa.Table, pa.Table]:
    return check_vote_rows(pa.Table.from_pylist(list(rows), schema=AS_READ), answer_classes=answer_classes)


def test_a_good_vote_passes() -> None:
    good, bad = checked(GOOD)
    assert good.schema == VOTE_ROWS
    assert good.to_pylist() == [GOOD | {"seconds": 3.5, "time": datetime(2026, 11, 22, 16, tzinfo=UTC)}]
    assert bad.num_rows == 0


@pytest.mark.parametrize(
    ("given", "read"), [("yes", "yes"), ("YES", "yes"), (" No ", "no"), ("Unsure\t", "unsure")]
)
def test_answers_are_read_without_regard_to_case_and_white_space(given: str, read: str) -> None:
    assert checked(GOOD | {"answer": given})[0]["answer"].to_pylist() == [read]


def test_each_word_for_an_answer_is_replaced_once() -> None:
    answers = pa.chunked_array([["yes", "no", "Maybe", "unsure", None, "perhaps"]])
    swapped = read_answers(answers, {"yes": "no", "no": "yes"})
    assert swapped.to_pylist() == ["no", "yes", "maybe", "unsure", None, "perhaps"]
    chained = read_answers(answers, {"maybe": "unsure", "unsure": "no"})
    assert chained.to_pylist() == ["yes", "no", "unsure", "no", None, "perhaps"]


def test_the_nearest_class_is_searched_once_for_each_unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    searched = []

    def count(name: str, names: Sequence[str]) -> str:
        searched.append(name)
        return suggestion(name, names)

    monkeypatch.setattr(values, "suggestion", count)
    monkeypatch.setattr(values, "MAX_SUGGESTIONS", 2)
    rows = [GOOD | {"class_name": None, "answer": f"dog{i % 3}", "location": f"v:{i}"} for i in range(10)]
    details = checked(*rows, answer_classes=("cat", "dog"))[1]["detail"].to_pylist()
    assert details[0].startswith("answer 'dog0' (did you mean \"dog\"?) is neither a class nor unsure")
    assert details[2].startswith("answer 'dog2' is neither a class nor unsure")
    assert searched == ["dog0", "dog1"]
    votes = [
        GOOD | {"class_name": "cta", "seconds": None, "time": None, "location": f"v:{i}"} for i in range(9)
    ]
    _, bad = select_valid_votes(pa.Table.from_pylist(votes, schema=VOTE_ROWS), QUESTIONS)
    assert set(bad["detail"].to_pylist()) == {
        "no such question: no web list has class 'cta' (did you mean \"cat\"?); fix the class_name"
    }
    assert searched == ["dog0", "dog1", "cta"]


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
    ("given", "read"),
    [
        ("2026-11-22T17:00:00.25+01:00", "2026-11-22T16:00:00.250000+00:00"),
        ("2026-11-22 16:00", "2026-11-22T16:00:00+00:00"),
        ("1795363200", "2026-11-22T16:00:00+00:00"),
        ("22.11.2026", None), ("now", None), ("today", None), ("99999-01-01", None), ("-5", None), ("1e300", None), ("", None), (None, None),
    ],
)  # fmt: skip
def test_times_are_iso_8601_or_seconds_since_1970(given: str | None, read: str | None) -> None:
    (result,) = checked(GOOD | {"time": given})[0]["time"].to_pylist()
    assert (result and result.isoformat()) == read


@pytest.mark.parametrize(
    ("code", "values", "detail"),
    [
        ("missing_value", {"image_id": None}, "image_id missing; .*--next-questions"),
        ("missing_value", {"class_name": None}, "class_name missing; a vote needs"),
        ("missing_value", {"worker_id": None, "answer": None}, "worker_id, answer missing"),
        ("missing_value", {"worker_id": None, "answer": "perhaps"}, "worker_id missing"),
        *(
            (
                "unknown_answer",
                {"answer": answer},
                re.escape(
                    f"answer {answer!r}; use yes, no or unsure, or set aggregate.answer_words: {{{answer!r}: {meaning!r}}}"
                ),
            )
            for answer, meaning in {
                "perhaps": "yes",
                "1": "yes",
                "0": "no",
                "true": "yes",
                "False": "no",
                "y": "yes",
                "n": "no",
                "correct": "yes",
                "incorrect": "no",
            }.items()
        ),
        ("bad_id", {"worker_id": "w" * 100_000}, f"worker_id '{'w' * 80}': .* 200 bytes"),
        ("bad_id", {"worker_id": "w\n0"}, "worker_id 'w\ufffd0': .* U[+]000A"),
        ("bad_id", {"image_id": "a\u200bb"}, "image_id 'a\ufffdb': .* U[+]200B"),
    ],
)
def test_each_fault_has_its_code_and_a_remedy(code: str, values: dict[str, str | None], detail: str) -> None:
    good, bad = checked(GOOD, GOOD | values | {"location": "v.csv:3"})
    assert good["location"].to_pylist() == ["v.csv:2"]
    (row,) = bad.select(["location", "code", "detail"]).to_pylist()
    assert (row["location"], row["code"]) == ("v.csv:3", code)
    assert re.match(detail, row["detail"])


VALUE = st.none() | st.sampled_from(["", "a", "yes", "NO", "?", "é\n", "1"])


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.lists(st.fixed_dictionaries(dict.fromkeys(AS_READ.names, VALUE)), max_size=8),
    st.sampled_from([(), ("a", "1")]),
)
def test_every_vote_is_good_or_rejected(
    rows: list[dict[str, str | None]], answer_classes: tuple[str, ...]
) -> None:
    rows = [row | {"location": f"v.csv:{i}"} for i, row in enumerate(rows)]
    good, bad = checked(*rows, answer_classes=answer_classes)
    needed = ["image_id", "worker_id", "answer", *([] if answer_classes else ["class_name"])]
    assert not any(good[name].null_count for name in needed)
    locations = good["location"].to_pylist() + bad["location"].to_pylist()
    assert sorted(locations) == sorted(str(row["location"]) for row in rows)
    assert set(bad["code"].to_pylist()) <= set(CODES)


# Selection of valid votes

QUESTIONS = RETRIEVAL.from_rows([{"image_id": i, "class_name": c} for i in "ab" for c in ("cat", "dog")])


@pytest.fixture
def vote() -> Callable[..., dict[str, object]]:
    def row(location: str, **values: object) -> dict[str, object]:
        return GOOD | {"seconds": None, "time": None, "location": location} | values

    return row


Vote = Callable[..., dict[str, object]]


ValidVotes = list[tuple[str, str, str, str]]  # image_id, class_name, worker_id, answer


def selected(
    votes: list[dict[str, object]], questions: pa.Table = QUESTIONS, repeated_votes: str = "first"
) -> tuple[ValidVotes, dict[str, str]]:
    """Return (valid votes, location → code of the rejected votes)."""
    valid, bad = select_valid_votes(pa.Table.from_pylist(votes, schema=VOTE_ROWS), questions, repeated_votes)
    images, classes = (valid.questions[name].to_pylist() for name in ("image_id", "class_name"))
    rows = [
        (images[item], classes[item], valid.workers[worker], ANSWERS[answer])
        for item, worker, answer in zip(valid.items, valid.voters, valid.answers, strict=True)
    ]
    assert rows == sorted(rows)
    return rows, dict(zip(bad["location"].to_pylist(), bad["code"].to_pylist(), strict=True))


def test_a_vote_without_a_question_is_unknown_image(vote: Vote) -> None:
    valid, bad = selected([vote("v:2"), vote("v:3", image_id="z"), vote("v:4", class_name="cow")])
    assert valid == [("a", "cat", "w1", "yes")]
    assert bad == {"v:3": "unknown_image", "v:4": "unknown_image"}


def test_of_a_workers_votes_on_one_question_the_first_counts(vote: Vote) -> None:
    votes = [
        vote("v:10", answer="no"),
        vote("v:9", answer="yes"),
        vote("w:2"),
        vote("v:11", class_name="dog"),
    ]
    valid, bad = selected(votes)
    assert valid == [("a", "cat", "w1", "yes"), ("a", "dog", "w1", "yes")]
    assert bad == {"v:10": "duplicate_vote", "w:2": "duplicate_vote"}
    assert selected(votes, repeated_votes="last")[1] == {"v:9": "duplicate_vote", "v:10": "duplicate_vote"}
    assert selected(votes, repeated_votes="reject")[1].keys() == {"v:9", "v:10", "w:2"}


def test_first_and_last_are_by_time_where_there_is_one(vote: Vote) -> None:
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    votes = [
        vote("v:2", answer="no", time=noon),
        vote("v:3", time=noon - timedelta(minutes=1)),
        vote("v:4", answer="unsure"),
        vote("v:5", answer="no", time=noon - timedelta(minutes=1)),
    ]
    assert selected(votes)[1].keys() == {"v:2", "v:4", "v:5"}
    assert selected(votes[:2], repeated_votes="last")[1].keys() == {"v:3"}
    assert selected(votes, repeated_votes="last")[1].keys() == {
        "v:2",
        "v:3",
        "v:5",
    }  # a vote without a time comes last


def test_more_votes_on_a_question_than_tables_can_count_are_an_error(vote: Vote) -> None:
    votes = [vote(f"v:{i}", worker_id=f"w{i}") for i in range(MAX_VOTES + 1)]
    assert len(selected(votes[1:])[0]) == MAX_VOTES
    with pytest.raises(
        DataError, match=r"image 'a', class 'cat': 32,768 workers .* at most 32,767 .* remove"
    ):
        selected(votes)


def test_without_votes_or_questions_no_vote_is_valid(vote: Vote) -> None:
    assert selected([]) == ([], {})
    assert selected([vote("v:2")], QUESTIONS.slice(0, 0)) == ([], {"v:2": "unknown_image"})


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
def test_selection_does_not_depend_on_the_order_and_loses_no_vote(
    rows: list[dict[str, object]], dice: random.Random
) -> None:
    rows = [
        row | {"seconds": None, "time": None, "location": f"{'uv'[i % 2]}.csv:{i + 2}"}
        for i, row in enumerate(rows)
    ]
    valid, bad = selected(rows)
    assert (valid, bad) == selected(dice.sample(rows, len(rows)))
    assert len(valid) + len(bad) == len(rows)
    assert bad.keys() <= {row["location"] for row in rows}

    counted: set[tuple[object, ...]] = set()
    for row in sorted(
        rows, key=lambda row: (str(row["location"])[0], int(str(row["location"]).split(":")[1]))
    ):
        question = (row["image_id"], row["class_name"], row["worker_id"])
        has_question = row["image_id"] in "ab" and row["class_name"] == "cat"  # type: ignore[operator]
        expected = (
            None
            if has_question and question not in counted
            else "duplicate_vote"
            if has_question
            else "unknown_image"
        )
        assert bad.get(str(row["location"])) == expected
        counted.add(question)


def test_times_are_kept(vote: Vote) -> None:
    votes = [vote("v:2", seconds=2.5), vote("v:3", worker_id="w2", time=datetime(1970, 1, 2, 12, tzinfo=UTC))]
    valid, _ = select_valid_votes(pa.Table.from_pylist(votes, schema=VOTE_ROWS), QUESTIONS)
    np.testing.assert_array_equal(valid.seconds, [2.5, np.nan])
    np.testing.assert_array_equal(valid.days, [np.nan, 1.5])


@pytest.mark.parametrize(
    ("values", "detail"),
    [
        ({"image_id": "images/a.png"}, "image_id looks like a path"),
        ({"image_id": "a.JPG"}, "image_id looks like a path"),
        ({"image_id": "photos\\a.png"}, "image_id looks like a path"),
        ({"image_id": "https://x.example/1.png"}, "image_id is a URL"),
        ({"class_name": "catt"}, "class 'catt' (did you mean \"cat\"?)"),
        ({"class_name": "zebra"}, "class 'zebra';"),
        ({"image_id": "z"}, "compare image_id and class_name with the web lists"),
    ],
)
def test_a_vote_without_a_question_is_rejected_with_a_remedy(
    vote: Vote, values: dict[str, str], detail: str
) -> None:
    _, bad = select_valid_votes(pa.Table.from_pylist([vote("v:1", **values)], schema=VOTE_ROWS), QUESTIONS)
    assert bad["code"].to_pylist() == ["unknown_image"]
    assert detail in bad["detail"][0].as_py()


def test_votes_about_images_that_ingest_rejected_have_their_own_code(
    vote: Vote,
) -> None:
    votes = [vote("v:1"), vote("v:2", image_id="z"), vote("v:3", image_id="z", class_name="dog")]
    rejected_rows = pa.table({"image_id": ["z"], "class_name": ["cat"]})
    valid, bad = select_valid_votes(
        pa.Table.from_pylist(votes, schema=VOTE_ROWS), QUESTIONS, without_image=rejected_rows
    )
    assert len(valid.items) == 1
    assert bad["code"].to_pylist() == ["image_rejected", "unknown_image"]


@pytest.mark.parametrize("scale", [1, 10**3, 10**6, 10**9])
def test_times_are_seconds_or_parts_of_them(scale: int) -> None:
    (result,) = checked(GOOD | {"time": str(1795363200 * scale)})[0]["time"].to_pylist()
    assert result == datetime(2026, 11, 22, 16, tzinfo=UTC)
