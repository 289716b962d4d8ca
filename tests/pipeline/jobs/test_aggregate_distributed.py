"""The aggregate stage with Dawid-Skene in distributed_em, from the command line."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from common.errors import UsageError
from pipeline.config import load_config
from pipeline.jobs import aggregate as aggregate_job
from pipeline.jobs import distributed_em
from pipeline.running.run import run_job
from tests.pipeline.conftest import ONE_PROCESS
from tests.pipeline.jobs.test_aggregate_methods import label, read

PASSES = ("method=dawid-skene", "smoothing=0.1", "max_iterations=2", "distribute_above=0")


def tables(output: Path) -> dict[str, bytes]:
    """Everything below labels."""
    folder = output / "aggregate"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def ingested(built, tmp_path) -> Path:
    shutil.copytree(built / "ingest", tmp_path / "out" / "ingest")
    return tmp_path / "out"


@pytest.fixture(scope="module")
def passed(world, built, tmp_path_factory) -> Path:
    """The stage, run in passes."""
    output = tmp_path_factory.mktemp("passes") / "out"
    shutil.copytree(built / "ingest", output / "ingest")
    assert label(world, output, *PASSES) == 0
    return output


def test_tables_are_those_of_the_method_in_memory(world, passed, ingested):
    assert label(world, ingested, *PASSES[:-1]) == 0
    for name in ("verdicts", "workers"):
        one, other = read(ingested / "aggregate" / name), read(passed / "aggregate" / name)
        assert one.schema == other.schema
        for column in one.column_names:
            if column in ("posterior", "confidence", "skill"):
                np.testing.assert_allclose(one[column], other[column], atol=1e-6)  # stored as float32
            else:
                assert one[column].equals(other[column]), column
    for name in ("retrieval_precision", "rejections"):
        files = {k: v for k, v in tables(ingested).items() if k.startswith(name) and k.endswith(".parquet")}
        assert bool(files) == (name == "retrieval_precision")  # no vote of the small world is rejected
        assert files.items() <= tables(passed).items()
    agreement = [
        row for row in read(ingested / "aggregate" / "agreement").to_pylist() if "cohen" not in row["measure"]
    ]
    assert read(passed / "aggregate" / "agreement").to_pylist() == agreement
    assert not (passed / "aggregate" / "distributed_em").exists()


def test_another_runner_writes_the_same_bytes(world, passed, ingested):
    assert label(world, ingested, *PASSES, more=("--runner=BundleBasedDirectRunner",)) == 0
    assert tables(ingested) == tables(passed)


class Killed(BaseException):
    """What no handler catches."""


def test_a_killed_stage_goes_on_at_the_pass_that_it_had_reached(world, passed, ingested, monkeypatch):
    done: list[str] = []

    def until(most: int) -> None:
        """Kill the stage when so many jobs are done."""

        def run(construct, arguments, work):
            if len(done) == most:
                raise Killed
            run_job(construct, arguments, work)
            done.append(work.stage)

        monkeypatch.setattr(distributed_em, "run_job", run)

    until(2)
    with pytest.raises(Killed):
        label(world, ingested, *PASSES, "smoothing=1")
    assert done == ["validate-votes", "em-iteration"]
    done.clear()
    with pytest.raises(Killed):
        label(world, ingested, *PASSES)
    assert done == [
        "validate-votes",
        "em-iteration",
    ]  # nothing that another configuration has left is gone on with
    until(9)
    done.clear()
    assert label(world, ingested, *PASSES, more=("--direct_num_workers=2",)) == 0
    assert done == ["em-iteration", "aggregate"]
    assert tables(ingested) == tables(passed)


def test_gold_and_ties_by_posterior_work_in_passes_too(world, ingested):
    def verdict(image: str) -> dict:
        return next(
            r for r in read(ingested / "aggregate" / "verdicts").to_pylist() if r["image_id"] == image
        )

    gold = world.folder / "gold-passes.csv"
    gold.write_text(f"image_id,class_name,answer\n{world.tie},cow,yes\n")
    assert label(world, ingested, *PASSES, "max_iterations=1", "gold=gold-passes.csv") == 0
    assert (verdict(world.tie)["verdict"], verdict(world.tie)["posterior"]) == ("yes", 1)
    assert label(world, ingested, "ties=posterior", "max_iterations=1", "distribute_above=0") == 0
    assert (
        verdict(world.tie)["verdict"] == "no"
    )  # a vote yes, one no and one unsure, where two of three questions are no
    assert read(ingested / "aggregate" / "workers")["skill"].null_count == 3  # majority knows of none


def test_a_template_cannot_start_many_jobs(world, ingested):
    config = load_config(str(world.config), [f"aggregate.{value}" for value in PASSES])
    with pytest.raises(UsageError, match=r"raise aggregate\.distribute_above"):
        aggregate_job.run(config, str(ingested), [ONE_PROCESS, "--template_location=gs://bucket/template"])


def test_no_votes_make_no_verdicts(world, ingested):
    assert label(world, ingested, *PASSES, more=(ONE_PROCESS, "--set=votes=[]")) == 0
    assert not list((ingested / "aggregate" / "verdicts").glob("*.parquet"))
