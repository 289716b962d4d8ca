"""Files in the documented forms of labelling tools, and the round trip: export, answer, import."""

import csv
import json
from pathlib import Path

import pandas as pd
import pytest

from pipeline.labels.exports import EXPORTS, LABEL_STUDIO_CONFIG
from pipeline.labels.readers.votes import check_votes_readable, read_votes
from pipeline.labels.rounds import next_questions
from pipeline.labels.votes import check_votes
from schemas.errors import DataError
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


def exported(form: str) -> dict[str, str]:
    return EXPORTS[form](next_questions(QUESTIONS, VERDICT.schema.empty_table().to_pandas(), 100, 3, 5))


def votes_of(path: Path) -> list[tuple]:
    found = []
    for records in read_votes(str(path)):
        assert not records.malformed
        good, bad = check_votes(records.rows)
        assert bad.num_rows == 0
        found += [tuple(row.values())[:5] for row in good.to_pylist()]
    return sorted(found)


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
    assert {row["image_id"]: row["ask"] for row in rows} == dict.fromkeys(ANSWERS, "3")
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_id", "class_name", "worker_id", "answer"])
        for row in rows:
            for worker, answer in zip(WORKERS, ANSWERS[row["image_id"]], strict=True):
                writer.writerow([row["image_id"], row["class_name"], worker, answer])
    assert votes_of(path) == expected(None)


def test_round_trip_through_label_studio(tmp_path):
    written = exported("label-studio")
    assert written[".label-studio.xml"] == LABEL_STUDIO_CONFIG
    tasks = json.loads(written[".label-studio.json"])
    assert {task["data"]["image"] for task in tasks} == {
        "/data/local-files/?d=images/a.jpg",
        "https://example.org/b.jpg",
        "/data/local-files/?d=images/ü.jpg",
    }
    for number, task in enumerate(tasks, 1):
        task["id"] = number
        task["annotations"] = [
            {
                "id": 10 * number + k,
                "completed_by": {"id": k, "email": worker} if k else worker,
                "was_cancelled": False,
                "lead_time": 2.5,
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
    assert votes_of(path) == expected(2.5)


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
    assert votes_of(path) == expected(3.5)


def test_round_trip_through_mechanical_turk(tmp_path):
    rows = list(csv.DictReader(exported("csv")[".csv"].splitlines()))
    path = tmp_path / "Batch_1_results.csv"
    header = ["HITId", "AssignmentId", "WorkerId", "AssignmentStatus", "WorkTimeInSeconds", "Input.image_id",
              "Input.class_name", "Answer.answer"]  # fmt: skip
    with path.open("w", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(header)
        for row in rows:
            for worker, answer in zip(WORKERS, ANSWERS[row["image_id"]], strict=True):
                writer.writerow(
                    ["H", "A", worker, "Approved", "7", row["image_id"], row["class_name"], answer]
                )
    assert votes_of(path) == expected(7.0)


def test_what_is_no_vote_is_told_and_counted(tmp_path):
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
        ],
    }
    path.write_text(json.dumps([task, {"data": 3, "annotations": 4}]))
    (records,) = read_votes(str(path), "votes/export.json")
    assert records.malformed == [
        ("votes/export.json:1", "task 1: skipped by worker 1"),
        ("votes/export.json:2", "task 1: worker 2 chose 2 answers instead of one"),
        ("votes/export.json:5", "task 1: an annotation is no object"),
        ("votes/export.json:6", "task 2: its annotations are no list"),
    ]
    good, bad = check_votes(records.rows)
    assert [row["worker_id"] for row in good.to_pylist()] == ["4"]
    assert bad["code"].to_pylist() == ["missing_value"]


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
    assert [text for _, text in records.malformed] == [
        "line 3: the requester has rejected this assignment",
        "line 6: too few or too many fields",
    ]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.json", "{}", "no list of tasks; export the project as JSON"),
        ("a.json", "[", "no JSON"),
        ("a.json", "[]", "there is no answer in this file"),
        ("a.manifest", "{}", "the manifest alone has no votes"),
        ("a.csv", "HITId,WorkerId,Answer.answer\n", "no column 'Input.image_id'"),
        ("a.csv", "HITId,WorkerId,Input.image_id,Input.class_name\n", "no column 'Answer.answer'"),
        ("a.csv", "image_id,class_name\n", "needs the column 'worker_id'"),
        ("a.xls", "", "read from .csv, .jsonl or .parquet"),
    ],
)
def test_files_of_no_known_form_are_told(tmp_path, name, content, told):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(DataError, match=told):
        check_votes_readable(str(path))


def test_words_for_answers():
    import pyarrow as pa

    columns = {"image_id": "a", "class_name": "c", "worker_id": "w", "seconds": None, "row": "f:1"}
    rows = pa.Table.from_pylist([{**columns, "answer": answer} for answer in ("Maybe", "ja", "yes", "hm")])
    good, bad = check_votes(rows, {"maybe": "unsure", "JA": "yes"})
    assert good["answer"].to_pylist() == ["unsure", "yes", "yes"]
    assert bad["code"].to_pylist() == ["unknown_answer"]
