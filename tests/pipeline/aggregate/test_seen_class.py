"""The class that workers saw instead: from the votes to the verdicts."""

import json
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.aggregate.readers.votes import read_votes
from pipeline.aggregate.seen_class import add_seen_class, drop_unusable_seen_classes
from pipeline.aggregate.verdicts import majority_verdicts
from pipeline.aggregate.vote_columns import encode_votes, join_columns
from pipeline.aggregate.vote_validation import VOTE_ROWS, check_vote_rows
from schemas.vote import ANSWERS, VOTE

CLASSES = ("cat", "dog", "emu")
ROW = {"image_id": "a", "class_name": "cat", "worker_id": "w", "answer": "no", "location": "f.csv:2"}


def votes(*rows: dict[str, object], schema: pa.Schema = VOTE.schema) -> pa.Table:
    return pa.Table.from_pylist([{**ROW, "worker_id": f"w{n}", **row} for n, row in enumerate(rows)], schema)


@pytest.mark.parametrize(
    ("answer", "seen", "usable", "dropped"),
    [
        ("no", "dog", "dog", 0),
        ("no", None, None, 0),
        ("no", "cat", None, 1),  # contradicts the answer
        ("no", "cow", None, 1),  # not a listed class
        ("yes", "cat", None, 0),  # redundant
        ("yes", "dog", None, 1),
        ("unsure", "dog", None, 1),
    ],
)
def test_an_unusable_class_is_dropped_and_counted_but_the_vote_stays(answer, seen, usable, dropped):
    rows = votes({"answer": answer, "seen_class": seen}, schema=VOTE_ROWS)
    kept, count = drop_unusable_seen_classes(rows, CLASSES)
    assert (kept["seen_class"].to_pylist(), count) == ([usable], dropped)
    assert kept["answer"].to_pylist() == [answer]
    assert kept.schema == VOTE_ROWS


NAMED = st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.sampled_from(CLASSES)), max_size=20)


@given(NAMED)
def test_more_than_half_of_those_who_name_a_class_must_name_the_same(named):
    rows = [{"image_id": image, "class_name": "gnu", "seen_class": seen} for image, seen in named]
    questions = encode_votes(votes(*rows)).questions
    for image, found in zip(
        questions["image_id"].to_pylist(), questions["seen_class"].to_pylist(), strict=True
    ):
        counts = Counter(seen for other, seen in named if other == image and seen)
        most = [name for name, count in counts.items() if 2 * count > counts.total()]
        assert found == (most[0] if most else None)


def verdicts(rows: list[dict[str, object]]) -> dict[tuple[str, str], tuple[str, str | None]]:
    columns = join_columns([encode_votes(votes(*rows))])
    table = add_seen_class(majority_verdicts(columns, 1), columns.questions["seen_class"])
    return {
        (row["image_id"], row["class_name"]): (row["verdict"], row["seen_class"]) for row in table.to_pylist()
    }


def test_a_verdict_yes_for_another_class_comes_before_what_workers_name():
    rows = [
        {"class_name": "cat", "seen_class": "emu"},
        {"class_name": "dog", "answer": "yes"},
        {"image_id": "b", "class_name": "cat", "seen_class": "emu"},
        {"image_id": "c", "class_name": "cat"},
        {"image_id": "d", "class_name": "cat", "answer": "unsure", "seen_class": None},
        {"image_id": "d", "class_name": "dog", "answer": "yes"},
    ]
    assert verdicts(rows) == {
        ("a", "cat"): ("no", "dog"),
        ("a", "dog"): ("yes", None),
        ("b", "cat"): ("no", "emu"),
        ("c", "cat"): ("no", None),
        ("d", "cat"): ("undecided", None),
        ("d", "dog"): ("yes", None),
    }


def test_of_several_classes_with_the_verdict_yes_the_more_probable_one_is_taken():
    rows = [
        {"class_name": "cat"},
        *({"class_name": "dog", "answer": answer} for answer in ("yes", "yes", "no")),
        *({"class_name": "emu", "answer": answer} for answer in ("yes", "yes", "yes")),
    ]
    assert verdicts(rows)["a", "cat"] == ("no", "emu")
    assert verdicts(rows[:3] + rows[4:-2])["a", "cat"] == ("no", "dog")  # equally probable: alphabetical


def test_it_is_read_from_every_format(tmp_path: Path):
    frame = pd.DataFrame([{**ROW, "seen_class": " DOG "}]).drop(columns="location")
    frame.to_csv(tmp_path / "v.csv", index=False)
    frame.to_json(tmp_path / "v.jsonl", orient="records", lines=True)
    frame.to_parquet(tmp_path / "v.parquet")
    turk = {
        "HITId": "h",
        "WorkerId": "w",
        "Input.image_id": "a",
        "Input.class_name": "cat",
        "Answer.answer": "no",
        "Answer.seen_class": "dog",
    }
    pd.DataFrame([turk]).to_csv(tmp_path / "turk.csv", index=False)
    results = [
        {"type": "choices", "from_name": name, "value": {"choices": [choice]}}
        for name, choice in (("answer", "no"), ("seen_class", "dog"))
    ]
    question = {"image_id": "a", "class_name": "cat"}
    task = {"data": question, "annotations": [{"completed_by": "w", "result": results}]}
    (tmp_path / "studio.json").write_text(json.dumps([task]))
    manifest = tmp_path / "job" / "manifests" / "output" / "output.manifest"
    response = tmp_path / "job" / "annotations" / "worker-response" / "iteration-1" / "0" / "1.json"
    for path in (manifest, response):
        path.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"source-ref": "a.jpg", **question}) + "\n")
    content = {"answer": {"label": "no"}, "seen_class": {"label": "dog"}}
    response.write_text(json.dumps({"answers": [{"workerId": "w", "answerContent": content}]}))
    annotation = {"displayName": "no", "annotationResourceLabels": {"worker_id": "w", "seen_class": "dog"}}
    vertex = {
        "imageGcsUri": "gs://b/cat/a.jpg",
        "dataItemResourceLabels": question,
        "classificationAnnotations": [annotation],
    }
    (tmp_path / "vertex.jsonl").write_text(json.dumps(vertex) + "\n")
    paths = [tmp_path / name for name in ("v.csv", "v.jsonl", "v.parquet", "turk.csv", "studio.json")]
    for path in (*paths, manifest, tmp_path / "vertex.jsonl"):
        (records,) = read_votes(str(path))
        good, bad = check_vote_rows(records.rows, classes=CLASSES)
        assert bad.num_rows == 0, path
        assert good["seen_class"].to_pylist() == ["dog"], path
        assert good["answer"].to_pylist() == [ANSWERS[1]], path
