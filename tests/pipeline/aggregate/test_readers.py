"""Files in the documented forms of labeling tools, and the round trip: export, answer, import."""

import csv
import json
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from common.errors import DataError
from pipeline.aggregate.exports import EXPORTS, label_studio_config
from pipeline.aggregate.next_questions import next_questions
from pipeline.aggregate.readers.votes import check_votes_readable, read_votes
from pipeline.aggregate.vote_validation import check_vote_rows
from schemas.verdict import VERDICT

QUESTIONS = pd.DataFrame(
    {
        "image_id": ["a,1", "b", 'q"ü'],
        "class_name": ["cat", "dog", "cat"],
        "path": ["images/a.jpg", None, "images/ü.jpg"],
        "url": [None, "https://example.org/b.jpg", None],
    }
)
ANSWERS = {"a,1": ["yes", "no", "yes"], "b": ["unsure", "yes", "yes"], 'q"ü': ["no", "no", "no"]}
WORKERS = ["w1", "w2", "w3"]

# What else Label Studio 1.23.2 exports of an annotation; test_label_studio_server.py asks a real one.
LABEL_STUDIO_ANNOTATION = {
    "was_cancelled": False,
    "ground_truth": False,
    "created_at": "2026-11-22T16:01:59.404000Z",
    "updated_at": "2026-11-22T16:02:59.404072Z",
    "draft_created_at": None,
    "lead_time": 2.5,
    "prediction": {},
    "result_count": 1,
    "unique_id": "2d7f0d24-eecd-4d87-a103-86cb1afe476e",
    "import_id": None,
    "last_action": None,
    "bulk_created": False,
    "task": 1,
    "project": 1,
    "updated_by": 2,
    "parent_prediction": None,
    "parent_annotation": None,
    "last_created_by": None,
}


TURK = "HITId,WorkerId,Input.image_id,Input.class_name,Answer.answer\n"
LISTED = ["another class", "cat", "dog"]


def exported(form: str) -> dict[str, str]:
    return EXPORTS[form](
        next_questions([(QUESTIONS, VERDICT.schema.empty_table().to_pandas())], 100, 3, 5), LISTED
    )


def votes_of(path: Path, time: str | None = None) -> list[tuple]:
    """All columns but the time, which is the same for all votes."""
    result = []
    for records in read_votes(str(path)):
        assert not records.malformed
        good, bad = check_vote_rows(records.rows)
        assert bad.num_rows == 0
        result += [tuple(row.values())[:5] for row in good.to_pylist()]
        assert {at and at.isoformat() for at in good["time"].to_pylist()} == {time}
    return sorted(result)


def expected(seconds: float | None) -> list[tuple]:
    classes = dict(zip(QUESTIONS["image_id"], QUESTIONS["class_name"], strict=True))
    return sorted(
        (image, classes[image], worker, answer, seconds)
        for image, answers in ANSWERS.items()
        for worker, answer in zip(WORKERS, answers, strict=True)
    )


def test_round_trip_through_csv(tmp_path):
    path = tmp_path / "votes.csv"
    rows = list(csv.DictReader(exported("csv")[".csv"].splitlines()))
    assert {row["image_id"]: row["votes_wanted"] for row in rows} == dict.fromkeys(ANSWERS, "3")
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_id", "class_name", "worker_id", "answer"])
        for row in rows:
            for worker, answer in zip(WORKERS, ANSWERS[row["image_id"]], strict=True):
                writer.writerow([row["image_id"], row["class_name"], worker, answer])
    assert votes_of(path) == expected(None)


def test_round_trip_through_label_studio(tmp_path):
    written = exported("label-studio")
    assert written[".label-studio.xml"] == label_studio_config(LISTED)
    tasks = json.loads(written[".label-studio.json"])
    assert {task["data"]["image"] for task in tasks} == {
        "/data/local-files/?d=images/a.jpg",
        "https://example.org/b.jpg",
        "/data/local-files/?d=images/%C3%BC.jpg",
    }
    for number, task in enumerate(tasks, 1):
        task["id"] = number
        task["annotations"] = [
            LABEL_STUDIO_ANNOTATION
            | {
                "id": 10 * number + k,
                "completed_by": {"id": k, "email": worker} if k else worker,
                "result": [
                    {
                        "from_name": "answer",
                        "to_name": "image",
                        "type": "choices",
                        "value": {"choices": [ANSWERS[task["data"]["image_id"]][k]]},
                    }
                ],
            }
            for k, worker in enumerate(WORKERS)
        ]
    path = tmp_path / "export.json"
    path.write_text(json.dumps(tasks))
    assert votes_of(path, "2026-11-22T16:01:59.404000+00:00") == expected(2.5)


def test_round_trip_through_ground_truth(tmp_path):
    lines = exported("ground-truth")[".manifest"].splitlines()
    assert all(json.loads(line)["source-ref"] for line in lines)
    responses = tmp_path / "job" / "annotations" / "worker-response" / "iteration-1"
    output = []
    for number, line in enumerate(lines):
        item = json.loads(line)
        folder = responses / str(number)
        folder.mkdir(parents=True)
        for worker, answer in zip(WORKERS, ANSWERS[item["image_id"]], strict=True):
            said = {
                "acceptanceTime": "2026-11-22T10:00:00Z",
                "answerContent": {"crowd-image-classifier": {"label": answer}},
                "submissionTime": "2026-11-22T10:00:04Z",
                "timeSpentInSeconds": 3.5,
                "workerId": worker,
                "workerMetadata": {},
            }
            (folder / f"2026-11-22_{worker}.json").write_text(json.dumps({"answers": [said]}))
        output.append({**item, "job": 0, "job-metadata": {"class-name": "yes", "confidence": 0.9}})
    path = tmp_path / "job" / "manifests" / "output" / "output.manifest"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in output))
    assert votes_of(path, "2026-11-22T10:00:04+00:00") == expected(3.5)


def test_damaged_lines_and_answers_of_ground_truth_are_reported_and_counted(tmp_path):
    item = json.dumps({"image_id": "a", "class_name": "cat"})
    manifest = tmp_path / "output.manifest"
    manifest.write_text("\n".join(["{", "3", "", item, item]))
    responses = tmp_path / "annotations" / "worker-response" / "iteration-1"
    good = {"workerId": "w1", "answerContent": {"answer": "yes"}}
    for number, said in enumerate([{"answers": 3}, {"answers": ["nonsense", good]}], start=3):
        (responses / str(number)).mkdir(parents=True)
        (responses / str(number) / "time.json").write_text(json.dumps(said))
    (records,) = read_votes(str(manifest), "votes")
    reported = [reason for _, reason in records.malformed]
    assert reported[0].startswith("line 1 of the manifest: Expecting property name")
    assert reported[1:] == [
        "line 2 of the manifest is not a JSON object",
        "iteration-1/3/time.json: no answers (ValueError: answers is not a list)",
        "iteration-1/4/time.json: an answer is not an object",
    ]
    assert [row["worker_id"] for row in check_vote_rows(records.rows)[0].to_pylist()] == ["w1"]


def test_round_trip_through_mechanical_turk(tmp_path):
    rows = list(csv.DictReader(exported("csv")[".csv"].splitlines()))
    path = tmp_path / "Batch_1_results.csv"
    header = ["HITId", "AssignmentId", "WorkerId", "AssignmentStatus", "SubmitTime", "WorkTimeInSeconds",
              "Input.image_id", "Input.class_name", "Answer.answer"]  # fmt: skip
    with path.open("w", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(header)
        submitted = "Sun Nov 22 08:00:00 PST 2026"
        for row in rows:
            for worker, answer in zip(WORKERS, ANSWERS[row["image_id"]], strict=True):
                writer.writerow(
                    ["H", "A", worker, "Approved", submitted, "7", row["image_id"], row["class_name"], answer]
                )
    assert votes_of(path, "2026-11-22T16:00:00+00:00") == expected(7.0)


def jsonl(path: Path, *lines: object) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def vertex(uri: str, answer: str, labels: dict[str, str], **reported: str) -> dict[str, object]:
    name = {"aiplatform.googleapis.com/annotation_set_name": "8066716590760001536"}
    annotation = {"displayName": answer, "annotationResourceLabels": name | reported}
    ml_use = {"aiplatform.googleapis.com/ml_use": "training"}
    return {
        "imageGcsUri": uri,
        "classificationAnnotation": annotation,
        "dataItemResourceLabels": ml_use | labels,
    }


def test_vertex_ai_with_the_question_in_labels_and_without(tmp_path):
    several = vertex("gs://b/x.jpg", "", {})
    several["classificationAnnotations"] = [
        {"displayName": answer, "annotationResourceLabels": {"worker_id": worker}}
        for worker, answer in (("w1", "dog"), ("w2", "emu"))
    ]
    path = jsonl(
        tmp_path / "data-00001-of-00001.jsonl",
        vertex("gs://b/images/1.jpg", "yes", {"image_id": "a", "class_name": "cat"}, worker_id="w1"),
        vertex("gs://b/pets/cat/b.c.png", "No", {}),
        vertex("gs://b/pets/d.png", "dog", {}),
        several,
    )
    (records,) = read_votes(str(path))
    assert [tuple(row.values())[:4] for row in records.rows.to_pylist()] == [
        ("a", "cat", "w1", "yes"),
        ("b.c", "cat", "8066716590760001536", "No"),
        ("d", None, "8066716590760001536", "dog"),
        ("x", None, "w1", "dog"),
        ("x", None, "w2", "emu"),
    ]
    assert not records.malformed


def example(uri: str, *annotations: tuple[str, dict[str, object] | None]) -> dict[str, object]:
    name = "projects/p/datasets/d/annotatedDatasets/a/examples/e"
    made = []
    for answer, operator in annotations:
        spec = {"annotationSpec": {"displayName": answer}}
        annotation = {
            "name": f"{name}/annotations/1",
            "annotationValue": {"imageClassificationAnnotation": spec},
        }
        more = {"annotationSource": "OPERATOR", "annotationMetadata": {"operatorMetadata": operator}}
        made.append(annotation | (more if operator is not None else {}))
    return {"name": name, "imagePayload": {"mimeType": "IMAGE_PNG", "imageUri": uri}, "annotations": made}


def test_the_data_labeling_service_gives_counts_and_no_workers(tmp_path):
    path = jsonl(
        tmp_path / "export.jsonl",
        example("gs://b/cat/a.png", ("yes", {"score": 0.6, "totalVotes": 3, "labelVotes": 2})),
        example("gs://b/cat/b.png", ("no", None)),
        example("gs://b/c.png", ("tulip", {"totalVotes": 3, "labelVotes": 2}), ("rose", {"labelVotes": 1})),
    )
    (records,) = read_votes(str(path))
    rows = records.rows.to_pylist()
    assert [(row["image_id"], row["class_name"], row["answer"]) for row in rows] == [
        ("a", "cat", "yes"),
        ("a", "cat", "yes"),
        ("a", "cat", "unsure"),
        ("b", "cat", "no"),
        ("c", None, "tulip"),
        ("c", None, "tulip"),
        ("c", None, "rose"),
    ]
    assert len({row["worker_id"] for row in rows}) == len(rows)


def test_damaged_lines_of_google_are_reported_and_counted(tmp_path):
    path = jsonl(
        tmp_path / "export.jsonl",
        example("gs://b/cat/a.png", ("yes", {"totalVotes": 10**9, "labelVotes": 2})),
        example("gs://b/cat/a.png", ("yes", {"totalVotes": "9" * 5000, "labelVotes": 2})),
        [],
        {"imageGcsUri": 3, "classificationAnnotation": "yes"},
        {
            "imagePayload": None,
            "annotations": [None, {"annotationValue": {"imageClassificationAnnotation": 1}}],
        },
    )
    path.write_text(path.read_text() + "{\n\n")
    (records,) = read_votes(str(path))
    assert [text.split(":")[0] for _, text in records.malformed] == ["line 1", "line 2", "line 3", "line 6"]
    assert check_vote_rows(records.rows)[1]["code"].to_pylist() == ["missing_value"] * 3
    path.write_bytes(path.read_bytes() + b"\xff\n")
    with pytest.raises(DataError, match=r"export.jsonl, line 8: .* export it again as UTF-8"):
        list(read_votes(str(path)))


@pytest.mark.parametrize(
    "written", ["", "yesterday", "Sun Nov 22 08:00:00 XYZ 2026", "Sun Nov 99 08:00:00 PST 2026"]
)
def test_an_unknown_time_of_mechanical_turk_loses_no_vote(tmp_path, written):
    path = tmp_path / "results.csv"
    path.write_text(
        f"HITId,WorkerId,SubmitTime,Input.image_id,Input.class_name,Answer.answer\nH,w1,{written},a,cat,yes\n"
    )
    assert votes_of(path) == [("a", "cat", "w1", "yes", None)]


def test_rows_that_are_no_votes_are_reported_and_counted(tmp_path):
    path = tmp_path / "export.json"
    choices = lambda *said: [{"type": "choices", "value": {"choices": list(said)}}]  # noqa: E731
    task = {
        "data": {"image_id": "a", "class_name": "cat"},
        "annotations": [
            {"completed_by": 1, "was_cancelled": True, "result": []},
            {"completed_by": 2, "result": choices("yes", "no")},
            {"completed_by": 3, "result": []},
            {"completed_by": 4, "result": choices("yes")},
            "nonsense",
            {"completed_by": 5, "result": 5},
            {
                "completed_by": 6,
                "result": [{"type": "choices", "value": {"choices": 6}}, {"type": "choices"}, 7],
            },
        ],
    }
    path.write_text(json.dumps([task, {"data": 3, "annotations": 4}]), encoding="utf-8-sig")
    (records,) = read_votes(str(path), "votes/export.json")
    assert records.malformed == [
        ("votes/export.json:2", "task 1: worker 2 chose 2 answers instead of one"),
        ("votes/export.json:5", "task 1: an annotation is not an object"),
        ("votes/export.json:8", "task 2: annotations is not a list"),
    ]
    assert records.skipped == [("votes/export.json:1", "task 1: skipped by worker 1")]
    good, bad = check_vote_rows(records.rows)
    assert [row["worker_id"] for row in good.to_pylist()] == ["4"]
    assert bad["code"].to_pylist() == ["missing_value"] * 3


def test_rejected_assignments_and_ticked_radios_of_mechanical_turk(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text(
        "HITId,WorkerId,AssignmentStatus,Input.image_id,Input.class_name,"
        "Answer.answer.yes,Answer.answer.no,Answer.answer.unsure\n"
        "H,w1,Approved,a,cat,true,false,false\n"
        "H,w2,Rejected,a,cat,true,false,false\n"
        "H,w3,Submitted,a,cat,false,false,TRUE\n"
        "H,w4,Submitted,a,cat,true,true,false\n"
        "H,w5,Submitted\n"
    )
    (records,) = read_votes(str(path))
    assert records.rows["answer"].to_pylist() == ["yes", "unsure", None]
    assert [text for _, text in records.malformed] == ["line 6: too few or too many fields"]
    assert [text for _, text in records.skipped] == ["line 3: the requester rejected this assignment"]


@pytest.mark.parametrize(
    ("name", "content", "reported"),
    [
        ("a.json", "{}", "not a list of tasks"),
        ("a.json", "[", "not JSON"),
        ("a.json", "[]", "the file has no answers"),
        ("a.manifest", "{}", "the manifest alone has no votes"),
        ("a.csv", "HITId,WorkerId,Answer.answer\n", "column 'Input.image_id' is missing"),
        ("a.csv", "HITId,WorkerId,Input.image_id,Input.class_name\n", "column 'Answer.answer' is missing"),
        (
            "a.csv",
            TURK + 'H,w,a,cat,no\nH,"w1,a,cat,yes\n' + "x\n" * 100_000,
            "a.csv, line 3: ",
        ),
        ("a.csv", "image_id,class_name\n", "needs the column 'worker_id'"),
        ("a.csv", "image_id,class_name\ra,cat\r", "line ends of Linux or Windows"),
        ("a.xls", "", ".csv, .jsonl or .parquet"),
    ],
)
def test_files_of_no_known_form_are_reported(tmp_path, name, content, reported):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(DataError, match=reported):
        check_votes_readable(str(path))


def test_words_for_answers():
    import pyarrow as pa

    columns = {
        "image_id": "a",
        "class_name": "c",
        "worker_id": "w",
        "seconds": None,
        "time": None,
        "seen_class": None,
        "location": "f:1",
    }
    schema = pa.schema([(name, pa.string()) for name in (*columns, "answer")])
    answers = ("Maybe", "ja", "yes", "hm")
    rows = pa.Table.from_pylist([{**columns, "answer": answer} for answer in answers], schema)
    good, bad = check_vote_rows(rows, {"maybe": "unsure", "JA": "yes"})
    assert good["answer"].to_pylist() == ["unsure", "yes", "yes"]
    assert bad["code"].to_pylist() == ["unknown_answer"]


def test_label_studio_offers_the_other_classes_with_the_answer_no():
    classes = ["cat", 'dog & "wolf" <small>', "{x}"]
    root = ElementTree.fromstring(label_studio_config(classes))
    answer, seen = root.findall("Choices")
    assert [choice.get("value") for choice in answer] == ["yes", "no", "unsure"]
    assert seen.get("name") == "seen_class"
    assert (seen.get("whenTagName"), seen.get("whenChoiceValue")) == ("answer", "no")
    assert [choice.get("value") for choice in seen] == classes
