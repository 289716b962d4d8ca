"""A repeatedly killed build gives the same dataset as an uninterrupted one."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from schemas.manifest import MANIFEST
from tests.pipeline.built_tables import digests
from training.data.shards import load

KILLS = 4


def start(world, output: Path, workers: int = 1, **environment: str) -> subprocess.Popen[bytes]:
    command = [
        "build",
        "--config",
        str(world.config),
        "--output",
        str(output),
        f"--direct_num_workers={workers}",
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", *command], env={**os.environ, **environment}, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=answer_to_ctrl_c,
    )  # fmt: skip


def answer_to_ctrl_c() -> None:
    """Tests that run side by side ignore it, and so would whatever they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(path: Path, running: subprocess.Popen[bytes]) -> None:
    """Importing Beam is not what is to be interrupted."""
    while not path.exists() and running.poll() is None:
        time.sleep(0.02)


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_build_goes_on_and_no_reader_sees_half_a_set(world, built, tmp_path, seed):
    output, moments = tmp_path / "out", random.Random(seed)
    for _ in range(KILLS):
        running = start(world, output)
        wait_for(output / "ingest", running)
        time.sleep(moments.uniform(0, 4))
        running.send_signal(signal.SIGKILL)
        running.communicate()
        for manifest in (output / "dataset").glob(f"*/{MANIFEST}"):
            load(manifest.parent)  # checks digests, counts and pictures: what is committed is whole
    last = start(world, output)
    _, errors = last.communicate()
    assert last.returncode == 0, errors.decode()
    assert digests(output) == digests(built)


def test_ctrl_c_leaves_no_process_no_rubbish_and_what_the_next_run_goes_on_with(world, built, tmp_path):
    output, temporary = tmp_path / "out", tmp_path / "temporary"
    temporary.mkdir()
    running = start(world, output, workers=2, TMPDIR=str(temporary))
    wait_for(output / "ingest" / "images", running)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to all of them
    _, errors = running.communicate()
    assert running.returncode == 130, errors.decode()
    assert errors.decode().startswith("interrupted; finished work is kept")
    with pytest.raises(ProcessLookupError):
        os.killpg(running.pid, 0)
    assert not list(temporary.iterdir())
    last = start(world, output)
    _, errors = last.communicate()
    assert last.returncode == 0, errors.decode()
    assert digests(output) == digests(built)
