"""Choices among k classes become answers to the questions that were asked."""

import pyarrow as pa

from pipeline.aggregate.class_answers import expand_class_answers
from pipeline.aggregate.vote_validation import check_vote_rows, select_valid_votes
from schemas.retrieval import RETRIEVAL
from schemas.vote import ANSWERS

ASKED = RETRIEVAL.from_rows(
    [{"image_id": image, "class_name": name} for image, name in (("a", "Cat"), ("a", "dog"), ("b", "dog"))]
)


def checked(*rows: tuple[str | None, ...]) -> tuple[pa.Table, pa.Table]:
    names = ("image_id", "class_name", "worker_id", "answer")
    made = [
        {
            **dict(zip(names, row, strict=True)),
            "seconds": "2",
            "time": None,
            "seen_class": None,
            "location": f"f.csv:{n}",
        }
        for n, row in enumerate(rows, 2)
    ]
    schema = pa.schema(
        [(name, pa.string()) for name in (*names, "seconds", "time", "seen_class", "location")]
    )
    return check_vote_rows(pa.Table.from_pylist(made, schema), answer_classes=("Cat", "dog", "emu"))


def test_a_choice_answers_each_question_about_its_image():
    good, bad = checked(
        ("a", None, "w1", "Cat"),
        ("a", None, "w2", "emu "),
        ("a", None, "w3", "Unsure"),
        ("b", "dog", "w1", "yes"),
    )
    assert bad.num_rows == 0
    kept, rejected = select_valid_votes(expand_class_answers(good, ASKED), ASKED)
    assert rejected.num_rows == 0
    images, classes = (kept.questions[name].to_pylist() for name in ("image_id", "class_name"))
    columns = zip(kept.items, kept.voters, kept.answers, kept.seconds, strict=True)
    result = [(images[i], classes[i], kept.workers[w], ANSWERS[a], seconds) for i, w, a, seconds in columns]
    assert result == [
        ("a", "Cat", "w1", "yes", 2.0),
        ("a", "Cat", "w2", "no", 2.0),
        ("a", "Cat", "w3", "unsure", 2.0),
        ("a", "dog", "w1", "no", 2.0),
        ("a", "dog", "w2", "no", 2.0),
        ("a", "dog", "w3", "unsure", 2.0),
        ("b", "dog", "w1", "yes", 2.0),
    ]
    assert kept.questions["seen_class"].to_pylist() == ["emu", None, None]  # on a: Cat 1, emu 1 for dog


def test_what_is_no_choice_is_rejected():
    good, bad = checked(
        ("a", None, "w1", "yes"),
        ("a", None, "w2", "cow"),
        ("a", "dog", "w3", "emu"),
        ("c", None, "w1", "dog"),
        ("a", None, "w4", None),
    )
    codes = dict(zip(bad["location"].to_pylist(), bad["code"].to_pylist(), strict=True))
    missing = dict.fromkeys(("f.csv:2", "f.csv:6"), "missing_value")
    assert codes == missing | dict.fromkeys(("f.csv:3", "f.csv:4"), "unknown_answer")
    kept, rejected = select_valid_votes(expand_class_answers(good, ASKED), ASKED)
    assert len(kept.items) == 0
    assert rejected["code"].to_pylist() == ["unknown_image"]


def test_a_choice_is_read_in_any_case_and_a_misspelled_one_gets_a_suggestion():
    good, bad = checked(("a", None, "w1", "CAT"), ("a", None, "w2", "doge"))
    assert good["answer"].to_pylist() == ["Cat"]
    (detail,) = bad["detail"].to_pylist()
    assert detail.startswith("answer 'doge' (did you mean \"dog\"?) is neither a class nor unsure")


def test_without_choices_a_vote_needs_its_class():
    good, _ = checked(("b", "dog", "w1", "yes"))
    assert expand_class_answers(good, ASKED) is good
    row = {
        "image_id": "a",
        "class_name": None,
        "worker_id": "w",
        "answer": "Cat",
        "seconds": None,
        "time": None,
        "seen_class": None,
        "location": "f:1",
    }
    schema = pa.schema([(name, pa.string()) for name in row])
    assert check_vote_rows(pa.Table.from_pylist([row], schema))[1]["code"].to_pylist() == ["missing_value"]
