"""Forms of labeling tools as people make them: more than one question, elements of their own, titles of any text."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.errors import DataError
from pipeline.aggregate.readers.row import chosen
from pipeline.aggregate.readers.votes import read_votes
from pipeline.records import Records


def read(path: Path) -> Records:
    (records,) = read_votes(str(path))
    return records


def choice(control: str | None, *chosen: str, kind: str = "choices") -> dict[str, Any]:
    result = {"to_name": "image", "type": kind, "value": {kind: list(chosen)}}
    return result if control is None else {**result, "from_name": control}


def label_studio(path: Path, *results: dict[str, Any]) -> Path:
    task = {
        "data": {"image_id": "a", "class_name": "ant"},
        "annotations": [{"completed_by": 1, "result": list(results)}],
    }
    path.write_text(json.dumps([task]))
    return path


@pytest.mark.parametrize(
    "results",
    [
        (choice("answer", "yes"), choice("quality", "sharp")),
        (choice("quality", "sharp"), choice("answer", "yes")),
        (choice("verdict", "yes"),),
        (choice(None, "yes"),),
        (choice("verdict", "yes"), choice("box", "ant", kind="rectanglelabels")),
        (choice("answer", "yes"), choice("quality", "sharp", "dark")),
        (choice("answer", "yes"), choice("quality")),
        (choice("verdict", "yes"), choice("quality")),
    ],
)
def test_the_vote_of_a_label_studio_task_is_that_of_the_control_answer_or_of_the_only_one(
    tmp_path: Path, results: tuple[dict[str, Any], ...]
) -> None:
    records = read(label_studio(tmp_path / "export.json", *results))
    assert records.rows["answer"].to_pylist() == ["yes"]
    assert not records.malformed


def test_several_controls_without_the_name_answer_are_named(tmp_path: Path) -> None:
    records = read(
        label_studio(tmp_path / "export.json", choice("is_ant", "yes"), choice("quality", "sharp"))
    )
    ((_, problem),) = records.malformed
    assert "controls 'is_ant', 'quality'" in problem


def job(folder: Path, lines: list[dict[str, Any]], responses: dict[int, Any]) -> Path:
    """A Ground Truth job: `lines` of the manifest, and by line the content of one worker's form."""
    for number, content in responses.items():
        place = folder / "annotations" / "worker-response" / "iteration-1" / str(number)
        place.mkdir(parents=True)
        (place / "t.json").write_text(json.dumps({"answers": [{"workerId": "w", "answerContent": content}]}))
    path = folder / "output.manifest"
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "content",
    [
        {"crowd-image-classifier": {"label": "yes"}},
        {"crowd-image-classifier-multi-select": {"labels": ["yes"]}},
        {"answer": "yes"},
        {"answer": "yes", "comment": "blurred"},
        {"answer": {"label": "yes"}, "sure": {"on": True}},
        {"answer": {"yes": True, "no": False, "unsure": False}},
        {"answer": {"yes": {"on": True}, "no": {"on": False}}, "comment": ""},
        {"yes": {"on": True}, "no": {"on": False}},
        {"yes": True, "no": False},
        {"is-it-an-ant": {"yes": True, "no": False}},
        {"answer": ["yes"]},
    ],
)
def test_forms_of_ground_truth_that_hold_one_answer_are_read(tmp_path: Path, content: dict[str, Any]) -> None:
    records = read(job(tmp_path, [{"image_id": "a", "class_name": "ant"}], {0: content}))
    assert records.rows["answer"].to_pylist() == ["yes"]


@pytest.mark.parametrize(
    "content", [{"answer": {"yes": True, "no": True}}, {"answer": ["yes", "no"]}, {"answer": {}}]
)
def test_a_form_with_two_answers_or_none_has_no_answer(tmp_path: Path, content: dict[str, Any]) -> None:
    records = read(job(tmp_path, [{"image_id": "a", "class_name": "ant"}], {0: content}))
    assert records.rows["answer"].to_pylist() == [None]


def test_a_form_of_several_elements_is_named(tmp_path: Path) -> None:
    records = read(job(tmp_path, [{"image_id": "a", "class_name": "ant"}], {0: {"vote": "yes", "note": "x"}}))
    ((_, problem),) = records.malformed
    assert problem == (
        "iteration-1/0/t.json: the form has the elements vote, note; name the element that holds the vote 'answer'"
    )


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c", "\x1e"])
def test_every_vote_stays_with_its_line_whatever_a_title_holds(tmp_path: Path, separator: str) -> None:
    lines = [{"image_id": f"i{n}", "class_name": "ant", "title": "a b"} for n in range(5)]
    path = job(tmp_path, lines, {n: {"answer": ("yes", "no")[n % 2]} for n in range(5)})
    path.write_text(path.read_text(encoding="utf-8").replace("a b", f"a{separator}b"), encoding="utf-8")
    rows = [part.rows.to_pylist() for part in read_votes(str(path))]
    actual = {row["image_id"]: row["answer"] for part in rows for row in part}
    if separator >= "\x80":  # the others are not allowed within a JSON string
        assert actual == {f"i{n}": ("yes", "no")[n % 2] for n in range(5)}
    else:
        assert actual == {}


def test_responses_to_more_lines_than_the_manifest_has_are_of_another_job(tmp_path: Path) -> None:
    path = job(
        tmp_path, [{"image_id": "a", "class_name": "ant"}] * 2, {0: {"answer": "yes"}, 2: {"answer": "no"}}
    )
    with pytest.raises(DataError, match=r"the manifest has 2 lines, but there are responses to line 3"):
        read(path)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_results_of_mechanical_turk_that_a_spreadsheet_has_saved(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "results.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["HITId", "WorkerId", "Input.image_id", "Input.class_name", "Answer.answer"])
        writer.writerow(["H", "w", "'-a", "ant", "yes"])  # escaped, as it was exported
        writer.writerow([])
        writer.writerow([""] * 5)
    records = read(path)
    assert [(row["image_id"], row["answer"]) for row in records.rows.to_pylist()] == [("-a", "yes")]
    assert not records.malformed


def test_blanks_around_the_column_names_of_mechanical_turk_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("HITId, WorkerId , Input.image_id, Input.class_name, Answer.answer\nH, w, a, ant, yes\n")
    (row,) = read(path).rows.to_pylist()
    assert [row[name] for name in ("worker_id", "image_id", "class_name", "answer")] == [
        "w",
        "a",
        "ant",
        "yes",
    ]


def test_a_column_of_mechanical_turk_that_the_header_only_seems_to_have_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text('HITId, "WorkerId",Input.image_id,Input.class_name,Answer.answer\nH,w,a,ant,yes\n')
    with pytest.raises(DataError, match="column 'WorkerId' is missing"):
        read(path)


@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: {"label": value}])
def test_answers_of_any_depth_are_read(wrap: Callable[[object], object]) -> None:
    value: object = "yes"
    for _ in range(50_000):
        value = wrap(value)
    assert chosen(value) == "yes"
