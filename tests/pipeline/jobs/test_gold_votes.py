"""Votes on clean images: none is lost, none makes a verdict, and they say how good a worker is."""

import csv
from pathlib import Path

from pipeline.shards import directory
from tests.pipeline.jobs.aggregate_stage import ingested, read_table, run_aggregate  # noqa: F401  fixture
from tests.pipeline.small_world import World

# ruff: noqa: F811  the fixture is imported by name

ROWS = [
    ("clean-ant-0", "ant", "w0", "yes"),
    ("clean-ant-0", "bee", "w0", "no"),
    ("clean-bee-1", "cow", "w0", "no"),
    ("clean-bee-1", "bee", "w0", "unsure"),
    ("clean-ant-0", "ant", "w1", "no"),
    ("clean-ant-0", "bee", "w1", "no"),
    ("clean-cow-3", "cow", "only gold", "yes"),
    ("clean-ant-0", "ant", "w0", "no"),  # a second answer
    ("clean-ant-0", "wasp", "w0", "no"),  # no class
    ("test-ant-0", "ant", "w0", "yes"),  # not a clean image
]


def aggregate(world: World, output: Path, *settings: str) -> dict[str, dict]:
    """Aggregate the votes of the small world and those on clean images; return the workers by id."""
    with (world.folder / "votes-gold.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image_id", "class_name", "worker_id", "answer"), *ROWS])
    flags = ("--set", "votes=[votes.csv, votes-gold.csv]", "--direct_num_workers=1")
    assert run_aggregate(world, output, *settings, flags=flags) == 0
    return {row["worker_id"]: row for row in read_table(output / "aggregate" / "workers").to_pylist()}


def test_votes_on_clean_images_describe_workers_and_change_no_verdict(world, built, ingested):
    before = read_table(built / "aggregate" / "verdicts")
    others = {row["worker_id"]: row for row in read_table(built / "aggregate" / "workers").to_pylist()}
    workers = aggregate(world, ingested)
    assert read_table(ingested / "aggregate" / "verdicts").equals(before)
    gold = ("gold_answers", "gold_right", "gold_low", "gold_high")
    assert [workers["w0"][name] for name in gold[:2]] == [3, 1.0]
    assert [workers["w1"][name] for name in gold[:2]] == [2, 0.5]
    assert workers["w1"]["gold_low"] < 0.1 < 0.9 < workers["w1"]["gold_high"]
    assert [workers["w2"][name] for name in gold] == [0, None, None, None]
    for name in ("w0", "w1", "w2"):
        assert {k: v for k, v in workers[name].items() if k not in gold} == {
            k: v for k, v in others[name].items() if k not in gold
        }
    alone = workers["only gold"]
    assert (alone["answers"], alone["yes_share"], alone["gold_answers"], alone["gold_right"]) == (
        0,
        None,
        1,
        1.0,
    )


def test_each_vote_is_a_result_or_a_rejection(world, ingested):
    aggregate(world, ingested)
    rows = read_table(ingested / "aggregate" / "gold_votes").to_pylist()
    found = {tuple(row.values()) for row in rows}
    known = ["yes", "no", "no", "yes", "yes", "no", "yes"]
    assert found == {(*row, answer) for row, answer in zip(ROWS[:7], known, strict=True)}
    rejected = read_table(ingested / "aggregate" / "rejections").to_pylist()
    codes = {(row["image_id"], row["class_name"]): row["code"] for row in rejected}
    assert codes["clean-ant-0", "ant"] == "duplicate_vote"
    assert codes["clean-ant-0", "wasp"] == "unknown_image"
    assert codes["test-ant-0", "ant"] == "unknown_image"
    counts = directory.read_manifest(str(ingested / "aggregate" / "verdicts")).about["counts"]
    assert counts["votes_in"] == counts["votes"] + counts["gold_votes"] + len(rejected)


def test_the_gold_file_overrides_the_clean_list(world, ingested):
    """The list may be wrong about an image; and gold candidates count for workers, too."""
    (world.folder / "gold.csv").write_text(
        "image_id,class_name,answer\nclean-ant-0,ant,no\nweb-bee-0,bee,yes\nweb-bee-40,bee,yes\n"
    )
    workers = aggregate(world, ingested, "gold=gold.csv")
    assert (workers["w0"]["gold_answers"], workers["w0"]["gold_right"]) == (5, 3 / 5)
    assert (workers["w1"]["gold_answers"], workers["w1"]["gold_right"]) == (4, 3 / 4)


def test_gold_questions_are_counted_and_a_list_that_matches_nothing_is_reported(world, ingested, capsys):
    warning = "warning: no gold question matches"
    gold = world.folder / "gold.csv"
    gold.write_text("image_id,class_name,answer\nclean-ant-0,bee,no\nweb-bee-0,bee,yes\nnowhere,bee,yes\n")
    aggregate(world, ingested, "gold=gold.csv")
    verdicts = str(ingested / "aggregate" / "verdicts")
    assert directory.read_manifest(verdicts).about["counts"]["gold_questions"] == 2
    assert warning not in capsys.readouterr().out
    gold.write_text("image_id,class_name,answer\nweb-bee-0,ant,yes\nnowhere,bee,yes\n")
    aggregate(world, ingested, "gold=gold.csv")
    assert warning in capsys.readouterr().out


def test_the_distributed_method_has_the_same_gold_votes_and_workers(world, ingested):
    workers = aggregate(world, ingested, "method=dawid-skene", "smoothing=0.1")
    gold_votes = read_table(ingested / "aggregate" / "gold_votes")
    again = aggregate(world, ingested, "method=dawid-skene", "smoothing=0.1", "distribute_above=1")
    assert read_table(ingested / "aggregate" / "gold_votes").equals(gold_votes)
    for name, row in workers.items():
        assert {k: v for k, v in again[name].items() if k.startswith("gold") or k == "answers"} == {
            k: v for k, v in row.items() if k.startswith("gold") or k == "answers"
        }
