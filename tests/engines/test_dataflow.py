"""Submission to Dataflow by the real client, against local emulations of Google's services."""

import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.engines.conftest import ROOT, run

pytest.importorskip("apitools", reason="needs apache-beam[gcp] (make test-engines installs it)")
pytest.importorskip("gcp_storage_emulator.server")

from apache_beam.portability.api import beam_runner_api_pb2

from tests.engines.cloud import PACKAGED, Cloud, started


@pytest.fixture(scope="module")
def cloud(world, tmp_path_factory):
    with started(world.folder, tmp_path_factory.mktemp("key")) as running:
        yield running


@pytest.fixture(scope="module")
def submitted(cloud) -> dict:
    done = cloud.run("ingest", "out", *PACKAGED, "--machine_type=n2-standard-4", "--max_num_workers=7")
    # The stand-in does not work: so the stage finds nothing where its results should be, and says so.
    assert done.returncode == 1, done.stderr
    assert (
        "gs://bucket/out/ingest/images: the ingest stage has not finished here"
        in done.stderr.splitlines()[-1]
    )
    (job,) = cloud.service.jobs
    return job


def test_the_job_asks_for_the_workers_that_the_user_wants(submitted):
    pool = submitted["environment"]["workerPools"][-1]
    assert pool["machineType"] == "n2-standard-4"
    assert pool["autoscalingSettings"]["maxNumWorkers"] == 7
    assert submitted["type"] == 1, "a batch job"
    assert f"beam_python{sys.version_info[0]}.{sys.version_info[1]}_sdk" in json.dumps(pool), "same Python"


def test_the_workers_install_what_reads_the_bucket(cloud, submitted):
    packages = submitted["environment"]["workerPools"][-1]["packages"]
    (location,) = [p["location"] for p in packages if p["name"] == "requirements.txt"]
    assert "gcsfs" in cloud.read(location.removeprefix("storage.googleapis.com/bucket/")).decode()


def test_the_job_s_graph_is_the_stage(cloud, submitted):
    (name,) = [name for name in cloud.names() if name.endswith("pipeline.pb")]
    graph = beam_runner_api_pb2.Pipeline.FromString(cloud.read(name))
    names = {transform.unique_name for transform in graph.components.transforms.values()}
    for step in ("CheckRows", "GatherBucket", "IngestBucket", "CommitTables/Commit"):
        assert f"Ingest/{step}" in names
    options = submitted["environment"]["sdkPipelineOptions"]["options"]
    assert options["temp_location"].startswith("gs://bucket/temp/")


def test_the_staged_package_runs_in_an_empty_environment_without_torch(cloud, submitted, tmp_path):
    packages = submitted["environment"]["workerPools"][-1]["packages"]
    (location,) = [p["location"] for p in packages if p["name"] == "workflow.tar.gz"]
    archive = tmp_path / "workflow.tar.gz"
    archive.write_bytes(cloud.read(location.removeprefix("storage.googleapis.com/bucket/")))
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {"pipeline/jobs/ingest.py", "schemas/image.py", "setup.py", "README.md"} <= names

    # As a worker does it: its image has Beam, pip installs the package and what that needs.
    environment = tmp_path / "worker"
    uv = str(next(ROOT.glob(".venv*-uv/bin/uv"), "uv"))  # as scripts/setup.sh has it
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, environment], check=True)
    python = environment / "bin" / "python"
    locked = ["--constraint", str(_without_hashes(tmp_path))]
    subprocess.run([uv, "pip", "install", "-q", "--python", python, *locked, archive], check=True)
    code = (
        "import importlib.util, pipeline.build, pipeline.jobs.ingest, pipeline.jobs.sets\n"
        "assert importlib.util.find_spec('torch') is None\n"
        "print(pipeline.__file__)"
    )
    reported = subprocess.run(
        [python, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert reported.stdout.startswith(str(environment))


def _without_hashes(folder: Path) -> Path:
    """The locked versions as constraints: a package that was just built has no hash to be checked."""
    lines = (ROOT / "requirements-engines.lock").read_text().splitlines()
    pins = [line.removesuffix(" \\") for line in lines if re.match(r"[\w.-]+(\[[\w,]+\])?==", line)]
    path = folder / "constraints.txt"
    path.write_text("\n".join(re.sub(r"\[[\w,]+\]", "", pin) for pin in pins))
    return path


def test_a_flex_template_s_launcher_gets_the_job_and_submits_nothing(cloud: Cloud):
    before = len(cloud.service.jobs)
    done = cloud.run("ingest", "template", *PACKAGED, "--template_location=gs://bucket/template.json")
    assert done.returncode == 0, done.stderr
    assert "gs://bucket/template.json" in done.stdout
    assert len(cloud.service.jobs) == before
    assert json.loads(cloud.read("template.json"))["environment"]


def test_a_build_from_a_bucket_into_a_bucket(cloud, local):
    """Lists, images and votes lie in it, too; the bytes are those of a build on a disk."""
    done = run("build", "--config", "gs://bucket/set/build.yaml", "--set", "source=gs://bucket/set",
               "--output", "gs://bucket/build", "--direct_num_workers=1", **cloud.environment)  # fmt: skip
    assert done.returncode == 0, done.stderr
    for path in sorted((local / "dataset").rglob("*.parquet")):
        name = f"build/dataset/{path.relative_to(local / 'dataset')}"
        assert cloud.read(name) == path.read_bytes(), name
    left = [name for name in cloud.names() if ".writing-" in name or "/begun/" in name]
    assert not left
    proof = run("verify", "gs://bucket/build/dataset", **cloud.environment)
    assert proof.returncode == 0, proof.stderr
    assert proof.stdout.startswith("ok:")
