"""A build that is killed again and again ends as if nothing had happened."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from schemas.manifest import MANIFEST
from tests.pipeline.jobs.test_build import digests
from training.data.shards import load

KILLS = 4


def start(world, output: Path) -> subprocess.Popen:
    command = [
        sys.executable,
        "-m",
        "pipeline",
        "build",
        "--config",
        str(world.config),
        "--output",
        str(output),
    ]
    return subprocess.Popen(
        [*command, "--direct_num_workers=1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_build_goes_on_and_no_reader_sees_half_a_set(world, built, tmp_path, seed):
    output, moments = tmp_path / "out", random.Random(seed)
    for _ in range(KILLS):
        running = start(world, output)
        waited = 0.0
        while (
            not (output / "ingest").exists() and waited < 30
        ):  # importing Beam is not what is to be interrupted
            time.sleep(0.02)
            waited += 0.02
        time.sleep(moments.uniform(0, 4))
        running.send_signal(signal.SIGKILL)
        running.communicate()
        for manifest in (output / "dataset").glob(f"*/{MANIFEST}"):
            load(manifest.parent)  # checks digests, counts and pictures: what is committed is whole
    last = start(world, output)
    _, errors = last.communicate()
    assert last.returncode == 0, errors.decode()
    assert digests(output) == digests(built)
