"""The aggregate stage by other methods than majority, from the command line."""

import csv
import json
import re
from pathlib import Path

import pyarrow as pa

from tests.pipeline.jobs.aggregate_stage import ingested, read_table, run_aggregate  # noqa: F401  fixture
from tests.pipeline.small_world import CLASSES, ONE_PROCESS, WEB

# ruff: noqa: F811  the fixture is imported by name


def test_joint_methods_write_the_same_tables_with_one_process_and_two(world, built, ingested):
    # w2 says no to everything: majority follows w0 and w1, and so does Dawid-Skene, which says by how much.
    assert run_aggregate(world, ingested, "method=dawid-skene", "smoothing=0.1") == 0
    one = {
        path.relative_to(ingested): path.read_bytes() for path in (ingested / "aggregate").rglob("*.parquet")
    }
    verdicts = read_table(ingested / "aggregate" / "verdicts")
    assert verdicts.num_rows == len(CLASSES) * WEB
    by_majority = read_table(built / "aggregate" / "verdicts")
    assert verdicts["image_id"].equals(by_majority["image_id"])
    same = pa.compute.equal(verdicts["verdict"], by_majority["verdict"])
    assert pa.compute.sum(pa.compute.invert(same)).as_py() <= 1  # the planted tie
    workers = {row["worker_id"]: row for row in read_table(ingested / "aggregate" / "workers").to_pylist()}
    assert workers["w0"]["skill"] > 0.95
    assert workers["w2"]["yes_when_yes"] == 0
    agreement = {
        (row["class_name"], row["measure"]): row
        for row in read_table(ingested / "aggregate" / "agreement").to_pylist()
    }
    assert {name for name, _ in agreement} == {None, *CLASSES}
    assert agreement[None, "mean_cohen_kappa"]["value"] > 0
    precision = read_table(ingested / "aggregate" / "retrieval_precision").to_pylist()
    assert (
        sum(row["yes"] + row["no"] + row["undecided"] for row in precision if not row["class_name"])
        == len(CLASSES) * WEB
    )
    first = next(row for row in precision if (row["method"], row["rank_from"]) == ("text", 0))
    assert first["precision"] > 0.9  # the first ranks of the small world are right
    two = ("--direct_num_workers=2", "--force")
    assert run_aggregate(world, ingested, "method=dawid-skene", "smoothing=0.1", flags=two) == 0
    assert {
        path.relative_to(ingested): path.read_bytes() for path in (ingested / "aggregate").rglob("*.parquet")
    } == one


def test_policies_and_gold_reach_the_verdicts(world, ingested):
    def verdict(image: str) -> str:
        rows = read_table(ingested / "aggregate" / "verdicts").to_pylist()
        return next(row["verdict"] for row in rows if row["image_id"] == image)

    assert run_aggregate(world, ingested, "ties=seeded") == 0
    assert verdict(world.tie) in ("yes", "no")
    gold = world.folder / "gold.csv"
    gold.write_text(f"image_id,class_name,answer\n{world.tie},cow,yes\n")
    assert run_aggregate(world, ingested, "method=one-coin", "gold=gold.csv") == 0
    assert verdict(world.tie) == "yes"
    assert run_aggregate(world, ingested, "repeated_votes=last", "ties=posterior") == 0


def test_majority_uses_gold_for_the_probability_alone(world, ingested):
    gold = world.folder / "gold.csv"
    gold.write_text(f"image_id,class_name,answer\n{world.tie},cow,yes\n")
    assert run_aggregate(world, ingested, "gold=gold.csv") == 0
    rows = read_table(ingested / "aggregate" / "verdicts").to_pylist()
    (tie,) = (row for row in rows if row["image_id"] == world.tie)
    assert (tie["verdict"], tie["p_wrong"]) == ("undecided", 0.0)
    assert all(0 <= row["p_wrong"] <= 1 for row in rows)
    assert read_table(ingested / "aggregate" / "error_model").num_rows > 0


def test_votes_for_a_noise_level_are_listed(world, ingested, capsys):
    flags = ("--next-questions", "--for-noise", "0.001", ONE_PROCESS)
    assert run_aggregate(world, ingested, flags=flags) == 0
    assert re.match(
        r"next      \d+ questions for \d+ answers; highest noise level: the expected true level is \d+\.\d points below the "
        r"nominal level now, and \d+\.\d points with these answers: ",
        capsys.readouterr().out.split("\n")[-2],
    )
    lines = (ingested / "aggregate" / "next_questions.csv").read_text().splitlines()
    assert lines[0].startswith("image_id,class_name")
    assert len(lines) > 1
    for wrong in (("--for-noise", "0.02"), ("--next-questions", "--for-noise", "2"), ("--next-questions",)):
        assert run_aggregate(world, ingested, flags=(*wrong, ONE_PROCESS)) == 2


def test_wrong_settings_are_errors(world, ingested, capsys):
    assert run_aggregate(world, ingested, "method=dawid_skene") == 2
    assert "'dawid_skene' is not one of majority, weighted-majority" in capsys.readouterr().err
    assert run_aggregate(world, ingested, "max_votes=2") == 2
    assert "max_votes 2 is below min_votes 3" in capsys.readouterr().err


def test_the_next_questions_are_written_in_the_format_of_a_tool(world, ingested, capsys):
    capsys.readouterr()
    assert run_aggregate(world, ingested, flags=(ONE_PROCESS, "--next-questions", "10", "--json")) == 0
    result = json.loads(capsys.readouterr().out)["next_questions"]
    assert (result["questions"], result["answers"]) == (1, 1)
    (row,) = csv.DictReader(Path(result["files"][0]).read_text().splitlines())
    assert (row["image_id"], row["votes_wanted"], row["path"]) == (world.tie, "1", f"images/{world.tie}.png")
    flags = (ONE_PROCESS, "--next-questions", "500", "--format", "label-studio")
    assert run_aggregate(world, ingested, "min_votes=4", flags=flags) == 0
    tasks = json.loads((ingested / "aggregate" / "next_questions.label-studio.json").read_text())
    assert len(tasks) == len(CLASSES) * WEB
    assert run_aggregate(world, ingested, flags=("--next-questions", "0")) == 2
    assert "a budget of at least 1 answer" in capsys.readouterr().err
