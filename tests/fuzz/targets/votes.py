"""Vote files are read and checked (pipeline/aggregate/readers, vote_validation.py).

The first byte chooses the format and whether votes may name classes; the rest is the file (of Ground Truth: the manifest
and the responses to its first lines). A file gives rows or a `DataError` that names it. Each row has a location of its own
and becomes one vote or one rejection with a code of the closed list. A vote has an answer yes, no or unsure, or a class;
identifiers are normalized; seconds are from 0 or missing. The votes on known questions are selected or rejected, too.
"""

import json
import shutil
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from common.errors import DataError
from pipeline.aggregate.class_answers import expand_class_answers
from pipeline.aggregate.readers.votes import read_votes
from pipeline.aggregate.seen_class import drop_unusable_seen_classes
from pipeline.aggregate.vote_validation import check_vote_rows, select_valid_votes
from pipeline.rejections import malformed_rows
from pipeline.values import normalize_column
from schemas.rejection import CODES
from schemas.vote import ANSWERS
from tests.fuzz.inputs import SEPARATOR, check_error, choice, folder, parts, written
from tests.fuzz.targets.lists import parquet_file

CLASSES = ("ant", "bee", "Größe")
WORDS_FOR_ANSWERS = {"ja": "yes", "1": "yes"}
QUESTIONS = pa.table({"image_id": ["a", "b", "a"], "class_name": ["ant", "ant", "bee"]})
ENDINGS = ("csv", "jsonl", "parquet", "json", "manifest")
RESPONSES = 2  # of Ground Truth
WORDS = (
    b"image_id", b"class_name", b"worker_id", b"answer", b"seconds", b"time", b"seen_class", b"HITId", b"WorkerId",
    b"Input.image_id", b"Input.class_name", b"Answer.answer", b"Answer.answer.yes", b"AssignmentStatus", b"imageGcsUri",
    b"imagePayload", b"classificationAnnotations", b"annotationResourceLabels", b"totalVotes", b"labelVotes", b'"data"',
    b'"annotations"', b'"result"', b'"choices"', b'"from_name"', b'"value"', b"was_cancelled", b"answerContent", b"workerId",
    b"yes", b"no", b"unsure", b"ant", b"2026-11-22T10:00:04Z", b"1e300", b"nan", b"\xef\xbb\xbf", b'"\\ud800"', b"\xe2\x80\x8b",
    b"Sat Nov 21 10:00:00 PST 2026",
)  # fmt: skip


def seeds() -> Iterator[bytes]:
    """Yield a file of each format, and some with faults."""
    table = b"image_id,class_name,worker_id,answer,seconds,time,seen_class\na,ant,w1,yes,2.5,2026-11-22T10:00:04Z,\n"
    yield b"\x00" + table + b'b,bee,w2,No,-1,1795000000,ant\n"a ",ANT,w1,maybe,nan,1e300,\n,,,,,,\nx,ant,w\n'
    yield (
        b"\x05image_id;class_name;worker_id;answer\n'=a;;w1;bee\na;;w2;unsure\na;ant;w1;"
        + b"1" * 5000
        + b".0\n"
    )
    turk = (
        b'"HITId", WorkerId,Input.image_id,Input.class_name,Answer.answer.yes,Answer.answer.no,SubmitTime\n'
    )
    yield b"\x00" + turk + b"h,w,a,ant,true,false,Sat Nov 21 10:00:00 PST 2026\nh,w\n"
    yield b"\x00" + turk.replace(b", ", b",").replace(b"WorkTime", b"x") + b'h,w,"a\nb",ant,true,TRUE,\n'
    row = {
        "image_id": "a",
        "class_name": "ant",
        "worker_id": 7,
        "answer": "yes",
        "seconds": 1e9,
        "time": "2026-11-22",
    }
    lines = [
        row,
        {**row, "worker_id": 7.0, "answer": True},
        {**row, "image_id": None},
        [],
        {**row, "time": {}},
    ]
    yield b"\x01" + b"\n".join(json.dumps(line).encode() for line in lines)
    yield b"\x06" + json.dumps({**row, "class_name": None, "answer": "\ud800 bee"}).encode() + b"\n\n{"
    vertex = {"imageGcsUri": "gs://b/ant/a.jpg", "classificationAnnotations": [{"displayName": "yes"}, 3]}
    counts = {"operatorMetadata": {"labelVotes": 2, "totalVotes": "3"}}
    label = {"imageClassificationAnnotation": {"annotationSpec": {"displayName": "ant"}}}
    counted = {"annotations": [{"annotationValue": label, "annotationMetadata": counts}]}
    yield b"\x01" + b"\n".join(
        json.dumps(x).encode() for x in (vertex, counted | {"imagePayload": {"imageUri": "x/a.jpg"}})
    )
    yield b"\x02" + parquet_file(
        {name: [*"ab", None] for name in ("image_id", "class_name", "worker_id", "answer")}
    )
    chosen = {"from_name": "answer", "type": "choices", "value": {"choices": ["yes"]}}
    annotation = {
        "completed_by": {"id": 3},
        "result": [chosen],
        "lead_time": 2.5,
        "created_at": "2026-11-22T16:01:59Z",
    }
    task = {
        "data": {"image_id": "a", "class_name": "ant"},
        "annotations": [annotation, {"was_cancelled": True}, 3],
    }
    yield b"\x03" + json.dumps([task, {"data": 3}, {"data": {}, "completions": {}}]).encode()
    form = {
        "workerId": "w",
        "answerContent": {"answer": {"label": "yes"}, "seen_class": "bee"},
        "timeSpentInSeconds": 3,
    }
    options = {"workerId": "v", "answerContent": {"yes": {"on": True}, "no": {"on": False}}}
    responses = [json.dumps({"answers": answers}).encode() for answers in ([form, 3], [options])]
    manifest = b'{"image_id": "a", "class_name": "ant"}\n{"image_id": "b", "class_name": "bee"}\n'
    yield b"\x04" + SEPARATOR.join([manifest, *responses])


def check(data: bytes) -> None:
    """Read a vote file, check its rows, and select the valid votes."""
    number, data = choice(data, 2 * len(ENDINGS))
    names_classes, ending = divmod(number, len(ENDINGS))
    path = (
        ground_truth_job(data) if ENDINGS[ending] == "manifest" else written(f"votes.{ENDINGS[ending]}", data)
    )
    locations: set[str] = set()
    try:
        batches = list(read_votes(path))
    except DataError as error:
        check_error(error, path)
        return
    for records in batches:
        here = records.rows["location"].to_pylist()
        assert len(set(here)) == len(here)
        assert not locations & set(here)
        locations |= set(here)
        assert malformed_rows([*records.malformed, *records.skipped]).num_rows == len(
            records.malformed + records.skipped
        )
        check_rows(records.rows, CLASSES if names_classes else ())


def ground_truth_job(data: bytes) -> str:
    """Write the output of a job: the manifest, and a response to each of its first lines."""
    manifest, *responses = parts(data, 1 + RESPONSES)
    shutil.rmtree(folder("job"))
    for number, response in enumerate(responses):
        if response:
            written(f"job/annotations/worker-response/iteration-1/{number}/t.json", response)
    return written("job/output.manifest", manifest)


def check_rows(rows: pa.Table, answer_classes: tuple[str, ...]) -> None:
    """Check that each row becomes a vote or a rejection, and each vote is selected or rejected."""
    for name in ("image_id", "class_name", "worker_id", "seen_class"):
        column = rows[name].combine_chunks()
        assert normalize_column(name, column).equals(column), name
    good, bad = check_vote_rows(rows, WORDS_FOR_ANSWERS, answer_classes, CLASSES)
    assert sorted(good["location"].to_pylist() + bad["location"].to_pylist()) == sorted(
        rows["location"].to_pylist()
    )
    assert set(bad["code"].to_pylist()) <= CODES.keys()
    assert set(good["answer"].to_pylist()) <= {*ANSWERS, *answer_classes}
    seconds = good["seconds"].to_numpy()
    assert not (seconds < 0).any()
    assert not np.isinf(seconds).any()
    if answer_classes:
        good = expand_class_answers(good, QUESTIONS)
    votes, _ = drop_unusable_seen_classes(good, CLASSES)
    valid, invalid = select_valid_votes(votes, QUESTIONS)
    assert len(valid.items) + invalid.num_rows == votes.num_rows
    assert set(invalid["code"].to_pylist()) <= CODES.keys()
