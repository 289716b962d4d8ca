"""The job that verifies a dataset has the same result as the verification in one process."""

import io
import json

import pyarrow as pa
import pytest
from PIL import Image

from pipeline.__main__ import main
from pipeline.jobs import verify as job
from pipeline.verify import plan
from pipeline.verify.dataset import verify
from tests.pipeline.dataset_forgery import replaced, rewrite
from tests.pipeline.jobs.attempts import MODES, repeat_everything
from tests.pipeline.small_world import build

ONE = ["--direct_num_workers=1"]


def damage(dataset):
    """Break rules within a shard, across the shards of a set, and across sets."""

    def wrong_rows(table):
        rows = table.to_pylist()
        rows[0]["image"]["bytes"] = b"no image"
        rows[-1]["label"] = 99
        return pa.Table.from_pylist(rows, table.schema)

    def exchange(table):
        rows = table.to_pylist()
        wrong = [row for row in rows if not row["is_clean"]]
        wrong[0]["replaced_image_id"] = wrong[1]["replaced_image_id"]
        return pa.Table.from_pylist(rows, table.schema)

    rewrite(dataset, "red-0.00", wrong_rows)
    rewrite(dataset, "red-0.50", exchange)
    rewrite(dataset, "red-text-0.20", lambda table: table.slice(1))
    rewrite(dataset, "blue-0.50", lambda table: replaced(table, "is_clean", [True] * table.num_rows))
    rewrite(dataset, "test", lambda table: replaced(table, "source", ["clean"] * table.num_rows))
    next((dataset / "blue-0.00").glob("*.parquet")).write_bytes(b"")
    test = sorted((dataset / "test").glob("*.parquet"))
    tests = [row for path in test for row in pa.parquet.read_table(path).to_pylist()]

    def leak(table):
        rows = table.to_pylist()
        rows[0]["image"] = tests.pop()["image"]
        return pa.Table.from_pylist(rows, table.schema)

    rewrite(dataset, "blue-0.20", leak)


@pytest.fixture(params=["self-contained", "shared"])
def damaged(request, world, dataset, tmp_path):
    if request.param == "self-contained":
        damage(dataset)
        return dataset
    assert build(world, tmp_path / "shared", "--set=shards.mode=shared", "--set=dedupe.orientations=all") == 0
    folder = tmp_path / "shared" / "dataset"

    tests = [path.read_bytes() for path in sorted((world.folder / "images").glob("test-*.png"))]

    def leak(table):
        """Put a mirrored test image in the place of the first image."""
        rows, buffer = table.to_pylist(), io.BytesIO()
        image = Image.open(io.BytesIO(tests.pop())).convert("RGB").resize((32, 32))
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(buffer, "PNG")
        rows[0]["image"]["bytes"] = buffer.getvalue()
        return pa.Table.from_pylist(rows, table.schema)

    rewrite(folder, "images", leak)
    rewrite(folder, "red-0.50", lambda table: table.slice(2))
    return folder


@pytest.fixture
def small_groups(monkeypatch):
    monkeypatch.setattr(plan, "CLEAN_IMAGES_PER_GROUP", 16)
    monkeypatch.setattr(plan, "TRAINING_IMAGES_PER_GROUP", 16)


def test_a_job_finds_the_same_as_one_process(damaged, small_groups):
    expected = verify(str(damaged))
    assert len(expected.problems) > 5
    assert "looks like test image" in "\n".join(expected.problems)
    assert job.run(str(damaged), ONE) == expected


@pytest.mark.parametrize("mode", MODES)
def test_attempts_that_do_not_count_change_no_result(dataset, small_groups, monkeypatch, mode):
    damage(dataset)
    expected = verify(str(dataset))
    repeat_everything(monkeypatch, mode)
    assert job.run(str(dataset), ONE) == expected


def test_the_size_of_groups_changes_no_result(dataset, monkeypatch):
    damage(dataset)
    expected = verify(str(dataset))
    monkeypatch.setattr(plan, "CLEAN_IMAGES_PER_GROUP", 16)
    monkeypatch.setattr(plan, "TRAINING_IMAGES_PER_GROUP", 16)
    assert verify(str(dataset)) == expected


@pytest.mark.parametrize("flags", [[], ONE, ["--runner=DirectRunner", *ONE]])
def test_the_command_prints_the_same_with_and_without_flags_of_beam(built, capsys, flags):
    assert main(["verify", str(built / "dataset"), "--json", *flags]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["ok"]
    assert printed["problems"] == []
    assert (printed["sets"], printed["examples"], printed["leaks"]) == (13, 738, 0)


def test_an_unknown_flag_is_a_usage_error(built, capsys):
    assert main(["verify", str(built / "dataset"), "--direct_num_worker=1"]) == 2
    assert "--direct_num_workers" in capsys.readouterr().err


DATAFLOW = ["--runner=DataflowRunner", "--project=p", "--region=us-central1"]
BUCKET = ["gs://bucket/dataset", *DATAFLOW, "--temp_location=gs://bucket/temp"]
PACKAGE = ["--setup_file=./setup.py"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gs://bucket/dataset", *DATAFLOW], "verify: --temp_location is missing"),
        (["dataset", "--runner=FlinkRunner", "--environment_type=DOCKER"], "--temp_location is missing"),
        (["gs://bucket/dataset", *DATAFLOW, "--temp_location=temp"], "--temp_location temp: the workers"),
        (["dataset", *BUCKET[1:]], "DATASET dataset: the workers of this runner cannot reach a local path"),
        (BUCKET, "the workers would lack the package"),
        ([*BUCKET, *PACKAGE], "the workers would lack gcsfs"),
        (
            [*BUCKET, *PACKAGE, "--requirements_file=requirements-dataflow.txt"],
            "DataflowRunner",
        ),  # credentials
    ],
)
def test_a_launch_on_workers_without_this_machine_s_disk_is_checked_without_output(
    arguments, words, monkeypatch, capsys
):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/no/such/key.json")
    assert main(["verify", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "--output" not in error
