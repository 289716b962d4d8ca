"""Rejected votes stop the aggregate stage if they are faults, not if the configuration excludes them."""

import csv
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from pyarrow import parquet

from pipeline.__main__ import main
from tests.pipeline.small_world import CLASSES, ONE_PROCESS, WEB, World, write_world


def codes_of(folder: Path) -> Counter[str]:
    tables = [parquet.read_table(path) for path in sorted(folder.glob("*.parquet"))]
    return Counter(code for table in tables for code in table["code"].to_pylist())


@pytest.fixture
def mine(world: World, built: Path, tmp_path: Path) -> Path:
    """A copy of the lists whose votes a test may change, ingested into `out` beside it."""
    shutil.copytree(built / "ingest", tmp_path / "out" / "ingest")
    shutil.copytree(world.folder, tmp_path / "mine", ignore=shutil.ignore_patterns("images"))
    return tmp_path / "mine"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def run_aggregate(mine: Path, *settings: str) -> int:
    overrides = [part for setting in (f"source={mine}", *settings) for part in ("--set", setting)]
    output = str(mine.parent / "out")
    return main(
        ["aggregate", "--config", str(mine / "build.yaml"), "--output", output, *overrides, ONE_PROCESS]
    )


def test_repeated_votes_stop_the_stage_only_if_all_are_rejected(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    votes = rows_of(mine / "votes.csv")
    again = [row | {"answer": "unsure"} for row in votes[: len(votes) // 2]]
    write(mine / "votes.csv", votes + again)
    assert run_aggregate(mine) == 0
    assert codes_of(mine.parent / "out" / "aggregate" / "rejections") == {"duplicate_vote": len(again)}
    assert run_aggregate(mine, "aggregate.repeated_votes=reject") == 1
    assert "duplicate_vote), more than max_rejected_share" in capsys.readouterr().err


def test_skipped_tasks_do_not_stop_the_stage(mine: Path) -> None:
    tasks = [
        {
            "data": {"image_id": row["image_id"], "class_name": row["class_name"]},
            "annotations": [
                {"completed_by": 1, "was_cancelled": number % 2 == 0, "result": [
                    {"from_name": "answer", "type": "choices", "value": {"choices": ["no"]}}]}
            ],
        }
        for number, row in enumerate(rows_of(mine / "web.csv"))
    ]  # fmt: skip
    (mine / "round-2.json").write_text(json.dumps(tasks))
    assert run_aggregate(mine, "votes=[round-2.json]") == 0
    assert codes_of(mine.parent / "out" / "aggregate" / "rejections") == {
        "skipped_answer": len(tasks) // 2 + 1
    }


def test_unknown_answers_stop_with_a_remedy_that_works(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {"yes": "1", "no": "0", "unsure": "?"}
    votes = rows_of(mine / "votes.csv")
    changed = [
        row | {"answer": words[row["answer"]], "class_name": row["class_name"].upper()} for row in votes
    ]
    write(mine / "votes.csv", changed)
    assert run_aggregate(mine) == 1
    assert "set aggregate.answer_words: {'0': 'no'}" in capsys.readouterr().err
    config = (mine / "build.yaml").read_text()
    (mine / "build.yaml").write_text(config + "aggregate:\n  answer_words: {1: yes, 0: no, '?': unsure}\n")
    assert run_aggregate(mine) == 0
    assert not codes_of(mine.parent / "out" / "aggregate" / "rejections")


def test_votes_about_images_that_ingest_rejected_do_not_stop_the_stage(tmp_path: Path) -> None:
    world = write_world(tmp_path / "mine")
    missing = [f"web-{name}-{number}" for name in CLASSES for number in range(0, WEB, 4)]
    for image_id in missing:
        (world.folder / "images" / f"{image_id}.png").unlink()
    arguments = ["--config", str(world.config), "--output", str(tmp_path / "out"), ONE_PROCESS]
    assert main(["ingest", *arguments]) == 0
    assert main(["aggregate", *arguments]) == 0
    assert codes_of(tmp_path / "out" / "aggregate" / "rejections") == {"image_rejected": 3 * len(missing)}
