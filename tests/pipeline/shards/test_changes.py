"""The report on changes of an interrupted commit."""

import json
from pathlib import Path

import pytest

from pipeline.shards.changes import interrupted_report
from schemas.manifest import MANIFEST, Manifest


@pytest.mark.parametrize(
    ("dataset", "made_from", "stale", "is_kept"),
    [
        ("before", "new", ["red-0.20", "test"], True),
        ("before", "new", [], True),  # all sets are swapped
        (None, "new", ["test"], True),  # of a first build
        (None, "new", ["red-0.40"], False),  # the dataset was removed after an incremental build
        ("new", "new", [], False),  # complete
        ("before", "newer", ["test"], False),
    ],
)
def test_the_report_of_an_interrupted_commit_is_kept(
    tmp_path: Path, dataset: str | None, made_from: str, stale: list[str], is_kept: bool
) -> None:
    path = tmp_path / "changes.json"
    report = {"made_from": "new", "written": ["red-0.20", "test"]}
    path.write_text(json.dumps(report))
    if dataset:
        (tmp_path / MANIFEST).write_text(Manifest("dataset", 0, (), {"made_from": dataset}).to_json())
    found = interrupted_report(str(path), str(tmp_path), made_from, stale)
    assert found == (report if is_kept else None)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"made_from": "new", "written": null}'])
def test_a_damaged_report_is_written_again(tmp_path: Path, text: str) -> None:
    (tmp_path / "changes.json").write_text(text)
    assert interrupted_report(str(tmp_path / "changes.json"), str(tmp_path), "new", ["test"]) is None
