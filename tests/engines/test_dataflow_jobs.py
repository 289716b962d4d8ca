"""Jobs on Dataflow from their submission to their end: the real clients, and a service that does or fails the work."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.engines.conftest import ROOT, run

pytest.importorskip("apitools", reason="needs apache-beam[gcp] (make test-engines installs it)")
pytest.importorskip("gcp_storage_emulator.server")

from tests.engines.cloud import IMAGE, PACKAGED, Cloud, started  # noqa: E402
from tests.engines.service import becomes  # noqa: E402

CONSOLE = "https://console.cloud.google.com/dataflow/jobs/us-central1/"


@pytest.fixture(scope="module")
def world_cloud(world, tmp_path_factory):
    with started(world.folder, tmp_path_factory.mktemp("key")) as running:
        yield running


@pytest.fixture
def cloud(world_cloud):
    world_cloud.service.submitted.clear()
    world_cloud.service.behavior, world_cloud.service.outage = becomes("DONE"), 0
    return world_cloud


def record(cloud: Cloud, output: str, stage: str) -> dict:
    return json.loads(cloud.read(f"{output}/jobs/{stage}.json"))


def test_a_whole_build_on_dataflow_writes_the_bytes_of_the_local_runner(cloud: Cloud, local):
    cloud.works()
    done = cloud.run("build", "whole", *PACKAGED)
    assert done.returncode == 0, done.stderr
    for path in sorted((local / "dataset").rglob("*.parquet")):
        assert cloud.read(f"whole/dataset/{path.relative_to(local / 'dataset')}") == path.read_bytes(), path
    names = [job.name.rsplit("-", 1)[0] for job in cloud.service.submitted]
    assert names == [f"controlled-noise-{stage}" for stage in ("ingest", "label", "dedupe", "split")]
    for job, stage in zip(cloud.service.submitted, ("ingest", "label", "dedupe", "split"), strict=True):
        kept = record(cloud, "whole", stage)
        assert (kept["job_id"], kept["state"], kept["console"]) == (
            job.id, "DONE", f"{CONSOLE}{job.id}?project=my-project",
        )  # fmt: skip
        here = json.loads((local / "metrics" / f"{stage}.json").read_text())
        assert json.loads(cloud.read(f"whole/metrics/{stage}.json"))["counters"] == here["counters"]
    assert not cloud.names("whole/.lease")
    again = cloud.run("build", "whole", IMAGE)
    assert again.returncode == 0
    assert len(cloud.service.submitted) == 4


@pytest.fixture(scope="module")
def built(world_cloud) -> Cloud:
    """A build on this machine into the bucket, whose stages can then be run again on Dataflow one by one."""
    where = ["--config", "gs://bucket/set/build.yaml", "--set", "source=gs://bucket/set"]
    done = run("build", *where, "--output", "gs://bucket/built", **world_cloud.environment)
    assert done.returncode == 0, done.stderr
    return world_cloud


FAULT = 'Traceback (most recent call last):\nschemas.errors.DataError: votes.csv, line 3: wrong; correct it [while running "Label"]'


@pytest.mark.parametrize("stage", ["split", "dedupe", "label", "ingest"])  # last first: each may lose its tables
def test_every_stage_tells_how_its_job_ended(cloud, built, stage):
    job = 0
    for state, error, words in (
        ("FAILED", "", "ended as FAILED (the service gives no reason); see https://console"),
        ("FAILED", "Workflow failed.\nCauses: no quota", "ended as FAILED (Causes: no quota)"),
        ("FAILED", FAULT, "error: votes.csv, line 3: wrong; correct it"),
        ("CANCELLED", "", "ended as CANCELLED"),
    ):
        cloud.service.behavior = becomes(state, after=1, error=error)
        done = cloud.run(stage, "built", "--force", IMAGE)
        job += 1
        assert done.returncode == 1, done.stderr
        assert len(cloud.service.submitted) == job
        lines = done.stderr.splitlines()
        assert lines[-1].startswith("error: "), done.stderr
        assert words in lines[-1]
        assert "Traceback" not in done.stderr
        assert any(f"submitted as job {cloud.service.submitted[-1].id}: {CONSOLE}" in line for line in lines)
        assert record(cloud, "built", stage)["state"] == state


def test_a_job_that_runs_for_a_while_is_waited_for_though_the_service_is_away(cloud: Cloud):
    cloud.works()
    cloud.service.outage = 4
    done = cloud.run("ingest", "outage", IMAGE)
    assert done.returncode == 0, done.stderr
    assert "Dataflow does not answer (503" in done.stderr
    assert "Dataflow answers again" in done.stderr
    assert "is running" in done.stderr
    assert "is done" in done.stderr
    assert len(cloud.service.submitted) == 1


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def start(cloud: Cloud, verb: str, output: str, *more: str) -> subprocess.Popen[str]:
    """Start a verb and return when its job is recorded."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *cloud.command(verb, output, IMAGE, *more)], cwd=ROOT, text=True,
        env={**os.environ, **cloud.environment}, stderr=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    before = len(cloud.service.submitted)
    wait_for(lambda: len(cloud.service.submitted) > before or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    wait_for(lambda: cloud.names(f"{output}/jobs/"))
    return process


def test_ctrl_c_cancels_the_job_and_the_next_command_starts_a_new_one(cloud: Cloud):
    cloud.service.behavior = becomes("DONE", after=10**6)
    process = start(cloud, "ingest", "cancelled")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    (job,) = cloud.service.submitted
    assert job.state == "CANCELLING"
    assert f"job {job.id} is being cancelled: {CONSOLE}{job.id}" in errors
    assert record(cloud, "cancelled", "ingest")["state"] == "CANCELLING"
    assert not cloud.names("cancelled/.lease")

    cloud.works()
    done = cloud.run("ingest", "cancelled", IMAGE)
    assert done.returncode == 0, done.stderr
    assert f"waiting for job {job.id}, which is being cancelled" in done.stderr
    assert [job.state for job in cloud.service.submitted] == ["CANCELLED", "DONE"]


def test_ctrl_c_detaches_where_asked_and_the_same_command_attaches_again(cloud: Cloud, local):
    cloud.service.behavior = becomes("DONE", after=10**6)
    process = start(cloud, "ingest", "detached", "--on-interrupt=detach")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    (job,) = cloud.service.submitted
    assert job.state == "RUNNING"
    assert f"job {job.id} goes on" in errors

    other = cloud.run("ingest", "detached", IMAGE, "--set", "ingest.size=16")
    assert other.returncode == 2, other.stderr
    assert f"job {job.id} of stage ingest is running, and its inputs or its configuration" in other.stderr
    assert f"gcloud dataflow jobs cancel {job.id}" in other.stderr
    here = ["--config", "gs://bucket/set/build.yaml", "--set", "source=gs://bucket/set"]
    local = run("ingest", *here, "--output", "gs://bucket/detached", **cloud.environment)
    assert local.returncode == 2, local.stderr
    assert f"job {job.id} of stage ingest is running" in local.stderr

    cloud.works()
    done = cloud.run("ingest", "detached", IMAGE)
    assert done.returncode == 0, done.stderr
    assert f"attached to job {job.id}" in done.stderr
    assert "up to date" in done.stdout
    again = cloud.run("ingest", "detached", IMAGE)
    assert again.returncode == 0
    assert len(cloud.service.submitted) == 1
    counted = json.loads(cloud.read("detached/metrics/ingest.json"))["counters"]
    assert counted == json.loads((local / "metrics" / "ingest.json").read_text())["counters"]


def test_a_job_whose_command_was_killed_is_found_when_the_lease_has_expired(cloud: Cloud):
    cloud.service.behavior = becomes("DONE", after=10**6)
    process = start(cloud, "ingest", "killed")
    process.kill()
    process.communicate()
    refused = cloud.run("ingest", "killed", IMAGE)
    assert refused.returncode == 2
    assert f"process {process.pid} on " in refused.stderr
    assert "its lease expires at" in refused.stderr

    (name,) = cloud.names("killed/.lease/")
    cloud.write(name, json.dumps({**json.loads(cloud.read(name)), "expires": time.time() - 1}).encode())
    cloud.works()
    done = cloud.run("ingest", "killed", IMAGE)
    assert done.returncode == 0, done.stderr
    assert f"attached to job {cloud.service.submitted[0].id}" in done.stderr
    assert len(cloud.service.submitted) == 1
    assert not cloud.names("killed/.lease/")


def test_a_job_without_a_record_stops_a_second_one(cloud: Cloud):
    cloud.service.behavior = becomes("DONE", after=10**6)
    start(cloud, "ingest", "unrecorded").kill()
    for name in [*cloud.names("unrecorded/.lease/"), "unrecorded/jobs/ingest.json"]:
        cloud.delete(name)
    done = cloud.run("ingest", "unrecorded", IMAGE)
    assert done.returncode == 2, done.stderr
    assert f"gcloud dataflow jobs cancel {cloud.service.submitted[0].id}" in done.stderr
    assert len(cloud.service.submitted) == 1


def refused(cloud: Cloud, *command: str, **environment: str) -> str:
    """The message of a launch that must write and submit nothing."""
    before = {name: cloud.read(name) for name in cloud.names("built/")}
    done = run(*command, **{**cloud.environment, **environment})
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert {name: cloud.read(name) for name in cloud.names("built/")} == before
    assert not cloud.service.submitted
    return done.stderr.splitlines()[-1]
