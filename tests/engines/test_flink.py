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

pytestmark = pytest.mark.skipif(
    not shutil.which("java") or not list(flink.JARS.glob("beam-runners-flink-*.jar")),
    reason=f"no Java, or no jars of Beam's Flink runner in {flink.JARS} (make test-engines fetches them with mvn)",
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with flink.cluster(tmp_path_factory.mktemp("flink")) as running:
        yield running


@pytest.mark.skipif(not os.environ.get("FLINK_WHOLE_BUILD"), reason="takes minutes: make test-flink")
def test_two_task_managers_write_the_same_bytes_as_the_local_runner(cluster, world, local, tmp_path):
    done = run("build", "--config", str(world.config), "--output", str(tmp_path), *cluster.flags)
    assert done.returncode == 0, done.stderr
    assert cluster.overview()["jobs-finished"] == 4
    assert digests(tmp_path / "dataset") == digests(local / "dataset")


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
    assert cluster.overview()["taskmanagers"] == 1
    for table in ("images", "retrievals", "rejections"):
        assert digests(tmp_path / "ingest" / table) == digests(local / "ingest" / table)
