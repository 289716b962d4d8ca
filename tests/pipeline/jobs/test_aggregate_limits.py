"""Rejected votes stop the aggregate stage if they are faults, not if the configuration excludes them."""

import csv
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from pyarrow import parquet

from pipeline.__main__ import main
from pipeline.jobs import validate_votes
from pipeline.jobs.aggregate import _count_questions
from pipeline.layout import Layout
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
    assert "duplicate_vote), more than aggregate.max_rejected_share" in capsys.readouterr().err


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


def test_a_lost_vote_is_an_error(
    mine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cut_votes = validate_votes.cut_votes
    monkeypatch.setattr(
        validate_votes,
        "cut_votes",
        lambda parts, buckets: cut_votes([part.slice(1) for part in parts], buckets),
    )
    assert run_aggregate(mine) == 1
    assert "405 votes were read, but 404 are counted as valid or rejected" in capsys.readouterr().err


def test_answers_that_name_a_class_count_once_and_their_rejections_have_one_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = write_world(tmp_path / "mine")
    web = rows_of(world.folder / "web.csv")
    write(
        world.folder / "web.csv",
        web + [row | {"class_name": "ant"} for row in web if row["class_name"] == "bee"],
    )
    bees = [row["image_id"] for row in web if row["class_name"] == "bee"]
    votes = [
        {"image_id": image_id, "class_name": "", "worker_id": f"w{i // 2}", "answer": "bee"}
        for image_id in bees
        for i in range(6)
    ]
    write(world.folder / "votes.csv", votes)
    out = tmp_path / "out"
    arguments = ["--config", str(world.config), "--output", str(out), ONE_PROCESS]
    assert main(["ingest", *arguments]) == 0
    assert main(["aggregate", *arguments, "--set", "aggregate.class_answers=true", "--json"]) == 0
    printed = capsys.readouterr().out
    counts = json.loads(printed.strip().rpartition("\n")[2])["aggregate"]
    assert counts["votes_in"] == counts["added_by_class_answers"] == len(votes)
    for path in (out / "aggregate" / "rejections").glob("*.parquet"):
        rows = parquet.read_table(path, columns=["location", "code", "image_id", "class_name"]).to_pylist()
        assert rows == sorted(rows, key=lambda row: tuple(row.values()))


def test_answers_that_name_a_class_about_rejected_and_clean_images(tmp_path: Path) -> None:
    world = write_world(tmp_path / "mine")
    (world.folder / "images" / "web-ant-0.png").unlink()
    names = ("web-ant-0", "web-ant-1", "clean-ant-0", "nowhere")
    votes = [
        {"image_id": name, "class_name": "", "worker_id": f"w{i}", "answer": "bee"}
        for name in names
        for i in range(3)
    ]
    write(world.folder / "votes.csv", votes)
    arguments = ["--config", str(world.config), "--output", str(tmp_path / "out"), ONE_PROCESS]
    settings = ["--set", "aggregate.class_answers=true", "--set", "aggregate.max_rejected_share=0.25"]
    assert main(["ingest", *arguments]) == 0
    assert main(["aggregate", *arguments, *settings]) == 0
    aggregated = tmp_path / "out" / "aggregate"
    assert codes_of(aggregated / "rejections") == {"image_rejected": 3, "unknown_image": 3}
    tables = [parquet.read_table(path) for path in (aggregated / "gold_votes").glob("*.parquet")]
    gold = [tuple(row.values()) for table in tables for row in table.to_pylist()]
    assert sorted(gold) == [("clean-ant-0", "ant", f"w{i}", "no", "yes") for i in range(3)]


def test_distribution_depends_on_the_number_of_web_images(mine: Path) -> None:
    method = ("aggregate.method=dawid-skene", f"aggregate.distribute_above={len(CLASSES) * WEB - 1}")
    assert _count_questions(Layout(str(mine.parent / "out")).retrievals) == len(CLASSES) * WEB
    assert run_aggregate(mine, *method) == 0
    tables = [
        parquet.read_table(path)
        for path in (mine.parent / "out" / "aggregate" / "agreement").glob("*.parquet")
    ]
    kappas = [row["value"] for row in tables[0].to_pylist() if row["measure"] == "mean_cohen_kappa"]
    assert not any(kappas), "distributed Dawid-Skene computes no Cohen's kappa"


def test_new_responses_of_ground_truth_are_read(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = rows_of(mine / "web.csv")[:2]
    (mine / "output.manifest").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def respond(line: int, worker: str) -> None:
        folder = mine / "annotations" / "worker-response" / "iteration-1" / str(line)
        folder.mkdir(parents=True, exist_ok=True)
        answer = {"workerId": worker, "answerContent": {"answer": "yes"}}
        (folder / f"{worker}.json").write_text(json.dumps({"answers": [answer]}))

    respond(0, "a")
    assert run_aggregate(mine, "votes=[output.manifest]") == 0
    assert "1 vote by 1 worker" in capsys.readouterr().out
    assert run_aggregate(mine, "votes=[output.manifest]") == 0
    assert "up to date" in capsys.readouterr().out
    respond(1, "b")
    assert run_aggregate(mine, "votes=[output.manifest]") == 0
    assert "2 votes by 2 workers" in capsys.readouterr().out


def test_votes_about_images_that_ingest_rejected_do_not_stop_the_stage(tmp_path: Path) -> None:
    world = write_world(tmp_path / "mine")
    missing = [f"web-{name}-{number}" for name in CLASSES for number in range(0, WEB, 4)]
    for image_id in missing:
        (world.folder / "images" / f"{image_id}.png").unlink()
    arguments = ["--config", str(world.config), "--output", str(tmp_path / "out"), ONE_PROCESS]
    assert main(["ingest", *arguments]) == 0
    assert main(["aggregate", *arguments]) == 0
    assert codes_of(tmp_path / "out" / "aggregate" / "rejections") == {"image_rejected": 3 * len(missing)}
