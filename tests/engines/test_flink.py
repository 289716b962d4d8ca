import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.engines import flink
from tests.engines.conftest import ROOT, digests, run
from tests.pipeline.built_tables import read
from tests.pipeline.poison import POISON, write_poisoned_world

pytestmark = pytest.mark.skipif(
    not shutil.which("java") or not list(flink.JARS.glob("beam-runners-flink-*.jar")),
    reason=f"no Java, or no jars of Beam's Flink runner in {flink.JARS} (make test-engines fetches them with mvn)",
)

minutes = pytest.mark.skipif(not os.environ.get("FLINK_WHOLE_BUILD"), reason="takes minutes: make test-flink")


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory):
    return write_poisoned_world(tmp_path_factory.mktemp("poisoned") / "world")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, poisoned):
    with flink.cluster(tmp_path_factory.mktemp("flink"), PYTHONPATH=str(poisoned.folder)) as running:
        yield running


@minutes
def test_two_task_managers_write_the_same_bytes_as_the_local_runner(cluster, world, local, tmp_path):
    done = run("build", "--config", str(world.config), "--output", str(tmp_path), *cluster.flags)
    assert done.returncode == 0, done.stderr
    assert cluster.overview()["jobs-finished"] == 4
    assert digests(tmp_path / "dataset") == digests(local / "dataset")


@minutes
def test_pictures_that_kill_their_worker_are_rejected_after_bounded_tries(cluster, poisoned, tmp_path):
    done = run("ingest", "--config", str(poisoned.config), "--output", str(tmp_path), *cluster.flags)
    assert done.returncode == 0, done.stderr
    rejected = {row["image_id"]: row for row in read(tmp_path / "ingest" / "rejections").to_pylist()}
    assert {name: row["code"] for name, row in rejected.items()} == dict.fromkeys(POISON, "decoder_crashed")
    assert read(tmp_path / "ingest" / "images").num_rows == 213 - len(POISON)


def test_a_task_manager_that_is_killed_changes_no_byte(cluster, world, local, tmp_path):
    command = ["ingest", "--config", str(world.config), "--output", str(tmp_path), *cluster.flags]
    running = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *command], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    while not list((tmp_path / "ingest" / "images").glob("part-*")) and running.poll() is None:
        time.sleep(0.05)
    victim = random.choice(cluster.task_managers)
    victim.send_signal(signal.SIGKILL)
    _, errors = running.communicate(timeout=300)
    assert running.returncode == 0, errors
    cluster.wait_for(task_managers=1)
    for table in ("images", "retrievals", "rejections"):
        assert digests(tmp_path / "ingest" / table) == digests(local / "ingest" / table)
