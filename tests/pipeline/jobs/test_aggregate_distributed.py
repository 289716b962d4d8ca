"""The aggregate stage with distributed Dawid-Skene, from the command line."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from common.errors import UsageError
from pipeline.config import load_config
from pipeline.jobs import aggregate as aggregate_job
from pipeline.jobs import distributed_em
from pipeline.running.run import run_job
from pipeline.shards import directory
from tests.pipeline.jobs.aggregate_stage import ingested, read_table, run_aggregate  # noqa: F401  fixture
from tests.pipeline.small_world import ONE_PROCESS

# ruff: noqa: F811  the fixture is imported by name
DISTRIBUTED = ("method=dawid-skene", "smoothing=0.1", "max_iterations=2", "distribute_above=0")


def tables(output: Path) -> dict[str, bytes]:
    """All files of the aggregate stage."""
    folder = output / "aggregate"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def distributed(world, built, tmp_path_factory) -> Path:
    """Output of the distributed stage."""
    output = tmp_path_factory.mktemp("distributed") / "out"
    shutil.copytree(built / "ingest", output / "ingest")
    assert run_aggregate(world, output, *DISTRIBUTED) == 0
    return output


def test_tables_are_those_of_the_method_in_memory(world, distributed, ingested):
    assert run_aggregate(world, ingested, *DISTRIBUTED[:-1]) == 0
    for name in ("verdicts", "workers"):
        one, other = read_table(ingested / "aggregate" / name), read_table(distributed / "aggregate" / name)
        assert one.schema == other.schema
        for column in one.column_names:
            if column in ("posterior", "confidence", "skill"):
                np.testing.assert_allclose(one[column], other[column], atol=1e-6)  # stored as float32
            else:
                assert one[column].equals(other[column]), column
    for name in ("retrieval_precision", "rejections"):
        files = {k: v for k, v in tables(ingested).items() if k.startswith(name) and k.endswith(".parquet")}
        assert bool(files) == (name == "retrieval_precision")  # no vote of the small world is rejected
        assert files.items() <= tables(distributed).items()
    agreement = [
        row
        for row in read_table(ingested / "aggregate" / "agreement").to_pylist()
        if "cohen" not in row["measure"]
    ]
    assert read_table(distributed / "aggregate" / "agreement").to_pylist() == agreement
    assert not (distributed / "aggregate" / "distributed_em").exists()


def test_another_runner_writes_the_same_bytes(world, distributed, ingested):
    assert run_aggregate(world, ingested, *DISTRIBUTED, flags=("--runner=BundleBasedDirectRunner",)) == 0
    assert tables(ingested) == tables(distributed)


class Killed(BaseException):
    """Ends the process without being handled."""


def test_a_killed_stage_resumes_at_the_iteration_it_had_reached(world, distributed, ingested, monkeypatch):
    done: list[str] = []

    def kill_after(jobs: int) -> None:
        """Kill the stage after this many jobs."""

        def run(construct, arguments, work):
            if len(done) == jobs:
                raise Killed
            run_job(construct, arguments, work)
            done.append(work.stage)

        monkeypatch.setattr(distributed_em, "run_job", run)

    kill_after(2)
    with pytest.raises(Killed):
        run_aggregate(world, ingested, *DISTRIBUTED, "smoothing=1")
    assert done == ["validate-votes", "em-iteration"]
    done.clear()
    with pytest.raises(Killed):
        run_aggregate(world, ingested, *DISTRIBUTED)
    assert done == [
        "validate-votes",
        "em-iteration",
    ]  # intermediate tables of another configuration are not used
    kill_after(9)
    done.clear()
    assert run_aggregate(world, ingested, *DISTRIBUTED, flags=("--direct_num_workers=2",)) == 0
    assert done == ["em-iteration", "aggregate"]
    assert tables(ingested) == tables(distributed)


def test_gold_and_ties_by_posterior_work_when_distributed(world, ingested):
    def verdict(image: str) -> dict:
        return next(
            r for r in read_table(ingested / "aggregate" / "verdicts").to_pylist() if r["image_id"] == image
        )

    gold = world.folder / "gold-distributed.csv"
    gold.write_text(f"image_id,class_name,answer\n{world.tie},cow,yes\n")
    assert run_aggregate(world, ingested, *DISTRIBUTED, "max_iterations=1", "gold=gold-distributed.csv") == 0
    assert (verdict(world.tie)["verdict"], verdict(world.tie)["posterior"]) == ("yes", 1)
    assert run_aggregate(world, ingested, "ties=posterior", "max_iterations=1", "distribute_above=0") == 0
    assert (
        verdict(world.tie)["verdict"] == "no"
    )  # a vote yes, one no and one unsure, where two of three questions are no
    assert (
        read_table(ingested / "aggregate" / "workers")["skill"].null_count == 3
    )  # majority estimates no skill


@pytest.mark.parametrize("distribute_above", [0, 1000])
def test_gold_changes_no_verdict_by_majority(world, ingested, distribute_above):
    (world.folder / "gold-majority.csv").write_text(
        f"image_id,class_name,answer\n{world.tie},{world.tie.split('-')[1]},yes\nweb-ant-40,ant,no\n"
    )
    verdicts = []
    for gold in ((), ("gold=gold-majority.csv",)):
        settings = ("ties=posterior", "max_iterations=5", f"distribute_above={distribute_above}", *gold)
        assert run_aggregate(world, ingested, *settings) == 0
        verdicts.append(
            read_table(ingested / "aggregate" / "verdicts").select(["image_id", "verdict", "posterior"])
        )
    assert verdicts[0].equals(verdicts[1])


def test_too_many_rejected_votes_stop_before_the_iterations(world, ingested, capsys):
    lines = (world.folder / "votes.csv").read_text().split("\n")
    (world.folder / "wrong.csv").write_text(
        "\n".join(lines[:1] + [line.replace("web-", "wasp-") for line in lines[1:90]])
    )
    settings = (*DISTRIBUTED, "max_rejected_share=0.1")
    votes = ("--set", "votes=[votes.csv, wrong.csv]", ONE_PROCESS)
    assert run_aggregate(world, ingested, *settings, flags=votes) == 1
    assert "unknown_image" in capsys.readouterr().err
    assert directory.find_manifest(str(ingested / "aggregate" / "verdicts")) is None
    left = ingested / "aggregate" / "distributed_em"
    assert sorted(path.name for path in left.iterdir()) == [
        "agreement",
        "counts-0001",
        "gold_votes",
        "rejections",
        "votes",
    ]
    assert run_aggregate(world, ingested, *settings[:-1], "max_rejected_share=0.5", flags=votes) == 0
    assert not left.exists()


def test_intermediate_tables_that_an_interruption_has_left_are_removed(world, distributed, tmp_path):
    output = tmp_path / "out"
    shutil.copytree(distributed, output)
    left = output / "aggregate" / "distributed_em"
    shutil.copytree(output / "aggregate" / "rejections", left / "votes")
    assert run_aggregate(world, output, *DISTRIBUTED) == 0
    assert not left.exists()
    manifest = left / "votes" / "_manifest.json"
    shutil.copytree(output / "aggregate" / "rejections", left / "votes")
    manifest.write_text(manifest.read_text().replace('"made_from": "', '"made_from": "other'))
    assert run_aggregate(world, output, *DISTRIBUTED) == 0
    assert left.exists(), "another configuration can be resumed"


def test_a_template_cannot_start_many_jobs(world, ingested):
    config = load_config(str(world.config), [f"aggregate.{value}" for value in DISTRIBUTED])
    with pytest.raises(UsageError, match=r"raise aggregate\.distribute_above"):
        aggregate_job.run(config, str(ingested), [ONE_PROCESS, "--template_location=gs://bucket/template"])


def test_no_votes_make_no_verdicts(world, ingested):
    assert run_aggregate(world, ingested, *DISTRIBUTED, flags=(ONE_PROCESS, "--set=votes=[]")) == 0
    assert not list((ingested / "aggregate" / "verdicts").glob("*.parquet"))
