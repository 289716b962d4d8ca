"""Dataflow jobs from submission to end, with the real clients and an emulated service that runs or fails the job."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.engines.conftest import ROOT, run

pytest.importorskip("apitools", reason="needs apache-beam[gcp] (make test-engines installs it)")
pytest.importorskip("gcp_storage_emulator.server")

from tests.engines.cloud import IMAGE, PACKAGED, Cloud, started
from tests.engines.service import becomes

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
    assert names == [f"controlled-noise-{stage}" for stage in ("ingest", "aggregate", "dedupe", "split")]
    for job, stage in zip(cloud.service.submitted, ("ingest", "aggregate", "dedupe", "split"), strict=True):
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
def built_in_bucket(world_cloud) -> Cloud:
    """A build on this machine into the bucket, whose stages can then be run again on Dataflow one by one."""
    where = ["--config", "gs://bucket/set/build.yaml", "--set", "source=gs://bucket/set"]
    done = run("build", *where, "--output", "gs://bucket/built", **world_cloud.environment)
    assert done.returncode == 0, done.stderr
    return world_cloud


FAULT = 'Traceback (most recent call last):\ncommon.errors.DataError: votes.csv, line 3: wrong; correct it [while running "Aggregate"]'


def committed(cloud: Cloud) -> dict[str, bytes]:
    """All that readers see of the build; what a failed attempt has staged is removed by the next one.

    Ingest removes ingest/versions.json when it starts, so that it runs again after a failure.
    """
    hidden = ("/jobs/", "/_staged/", "/ingest/versions.json")
    names = [name for name in cloud.names("built/") if not any(part in name for part in hidden)]
    return {name: cloud.read(name) for name in names}


ENDS = {
    "FAILED": ("", "ended as FAILED (the service gives no reason); see https://console"),
    "FAILED with a message": ("Workflow failed.\nCauses: no quota", "ended as FAILED (Causes: no quota)"),
    "FAILED by a task": (FAULT, "error: votes.csv, line 3: wrong; correct it"),
    "CANCELLED": ("", "ended as CANCELLED"),
}


@pytest.mark.parametrize(
    ("stage", "end"),
    [("ingest", end) for end in ENDS]
    + [
        (stage, end)
        for stage in ("aggregate", "dedupe", "split")
        for end in ("FAILED by a task", "CANCELLED")
    ],
)
def test_every_stage_reports_how_its_job_ended_and_keeps_its_tables(cloud, built_in_bucket, stage, end):
    error, words = ENDS[end]
    tables = committed(cloud)
    cloud.service.behavior = becomes(end.split()[0], after=1, error=error)
    done = cloud.run(stage, "built", "--force", IMAGE)
    assert done.returncode == 1, done.stderr
    (job,) = cloud.service.submitted
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert lines[-1].startswith("error: "), done.stderr
    assert words in lines[-1]
    assert any(f"submitted as job {job.id}: {CONSOLE}" in line for line in lines)
    assert record(cloud, "built", stage)["state"] == end.split()[0]
    assert committed(cloud) == tables


def test_a_template_that_starts_nothing_leaves_the_tables_as_they_are(cloud, built_in_bucket):
    tables = committed(cloud)
    done = cloud.run("ingest", "built", "--force", "--template_location=gs://bucket/template.json", IMAGE)
    assert done.returncode == 0, done.stderr
    assert not cloud.service.submitted
    assert committed(cloud) == tables


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
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 130
    (job,) = cloud.service.submitted
    assert job.state == "CANCELLING"
    assert f"job {job.id} is being canceled: {CONSOLE}{job.id}" in errors
    assert record(cloud, "cancelled", "ingest")["state"] == "CANCELLING"
    assert not cloud.names("cancelled/.lease")

    cloud.works()
    done = cloud.run("ingest", "cancelled", IMAGE)
    assert done.returncode == 0, done.stderr
    assert f"waiting for job {job.id}, which is being canceled" in done.stderr
    assert [job.state for job in cloud.service.submitted] == ["CANCELLED", "DONE"]


def test_ctrl_c_detaches_where_asked_and_the_same_command_attaches_again(cloud: Cloud, local):
    cloud.service.behavior = becomes("DONE", after=10**6)
    process = start(cloud, "ingest", "detached", "--on-interrupt=detach")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 130
    (job,) = cloud.service.submitted
    assert job.state == "RUNNING"
    assert f"job {job.id} continues" in errors

    other = cloud.run("ingest", "detached", IMAGE, "--set", "ingest.size=16")
    assert other.returncode == 2, other.stderr
    assert (
        f"job {job.id} of stage ingest is running, and it was started with other inputs or another configuration"
        in other.stderr
    )
    assert f"gcloud dataflow jobs cancel {job.id}" in other.stderr
    here = ["--config", "gs://bucket/set/build.yaml", "--set", "source=gs://bucket/set"]
    beside = run("ingest", *here, "--output", "gs://bucket/detached", **cloud.environment)
    assert beside.returncode == 2, beside.stderr
    assert f"job {job.id} of stage ingest is running" in beside.stderr

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


class Pictures(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


def test_urls_are_fetched_by_a_job_of_their_own(cloud: Cloud, world):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Pictures, directory=str(world.folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/"
    lines = (world.folder / "web.csv").read_text().splitlines()[:9]
    header, *rows = (line.split(",", 3) for line in lines)
    assert header[2] == "path"
    listed = [[*header[:2], "url", header[3]], *([*row[:2], url + row[2], row[3]] for row in rows)]
    cloud.write("set/urls.csv", "\n".join(",".join(row) for row in listed).encode())
    cloud.works()
    values = ("web=[urls.csv]", "fetch.allow_private_hosts=true", "fetch.contact=a@example.org")
    done = cloud.run("ingest", "fetched", IMAGE, *(part for value in values for part in ("--set", value)))
    server.shutdown()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("fetch     8 URLs: 8 fetched"), done.stdout
    assert [job.name.split("-")[2] for job in cloud.service.submitted] == ["fetch", "ingest"]


def refused(cloud: Cloud, *command: str, **environment: str) -> str:
    """The message of a launch that must write and submit nothing."""
    before = {name: cloud.read(name) for name in cloud.names("built/")}
    done = run(*command, **{**cloud.environment, **environment})
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert {name: cloud.read(name) for name in cloud.names("built/")} == before
    assert not cloud.service.submitted
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return message


WHERE = (
    "--config",
    "gs://bucket/set/build.yaml",
    "--set",
    "source=gs://bucket/set",
    "--output",
    "gs://bucket/built",
)
OTHER_PROJECT = ("--dataflow_endpoint=https://dataflow.googleapis.com", IMAGE)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--output", "out", IMAGE), "error: --output out: the workers of this runner cannot reach a local path"),
        (("--set", "source=/tmp", IMAGE), "error: source /tmp: the workers of this runner cannot reach a local path"),
        ((), "the workers would lack the package controlled-noise"),
        (("--setup_file=./setup.py",), "the workers would lack gcsfs"),
        (("--setup_file=./no.py",), "--setup_file ./no.py: no such file"),
        (("--setup_file=tests/conftest.py",), "tests/conftest.py packages another project"),
        (("--requirements_file=none.txt",), "--requirements_file none.txt: no such file"),
        (("--project=My Project", *OTHER_PROJECT), "Invalid Project ID (My Project)"),
        (("--num_workers=0", *OTHER_PROJECT), "Invalid value (0) for option: num_workers"),
        (("--num_workers=many", IMAGE), "argument --num_workers: invalid int value: 'many'"),
        (("--runner=DataflwRunner", IMAGE), "did you mean DataflowRunner?"),
    ],
)  # fmt: skip
def test_launch_errors_are_reported_before_anything_is_written(cloud, built_in_bucket, more, words):
    assert words in refused(cloud, "build", *WHERE, "--force", *cloud.flags(), *more)


def test_credentials_are_checked_before_anything_is_touched(cloud, built_in_bucket, tmp_path):
    key = tmp_path / "key.json"
    key.write_text("{}")
    command = ["build", *WHERE, "--force", *cloud.flags(), IMAGE]
    message = refused(cloud, *command, GOOGLE_APPLICATION_CREDENTIALS=str(key))
    assert "no usable Google credentials" in message
    assert "gcloud auth application-default login" in message


def test_a_dry_run_shows_what_would_be_submitted_and_writes_nothing(cloud, built_in_bucket):
    before = {name: cloud.read(name) for name in cloud.names()}
    done = run("build", *WHERE, "--force", "--dry_run", "--json", *cloud.flags(), "--worker_machine_type=n2", IMAGE,
               **cloud.environment)  # fmt: skip
    assert done.returncode == 0, done.stderr
    reported = json.loads(done.stdout)
    assert reported["runner"] == "DataflowRunner"
    assert (reported["options"]["project"], reported["options"]["machine_type"]) == ("my-project", "n2")
    assert list(reported["stages"]) == ["ingest", "aggregate", "dedupe", "split"]
    assert reported["stages"]["ingest"]["reads"][0] == "gs://bucket/set/clean.csv"
    assert reported["stages"]["split"]["writes"] == [
        f"gs://bucket/built/{name}" for name in ("split/examples", "dataset")
    ]
    assert {name: cloud.read(name) for name in cloud.names()} == before
    assert not cloud.service.submitted
