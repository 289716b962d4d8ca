"""A repeatedly killed build gives the same dataset as an uninterrupted one."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.manifest import MANIFEST
from tests.pipeline.built_tables import digests
from tests.pipeline.small_world import build
from training.data.shards import load

KILLS = 4
# The processes that are killed are forked from one that has imported Beam: importing is not what is interrupted.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["pipeline.build", "pipeline.__main__"])


def answer_to_ctrl_c() -> None:
    """Tests that run side by side ignore it, and so would whatever they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(path: Path, is_running: Callable[[], bool]) -> None:
    """Return when there is a file or folder, or when what makes it has ended."""
    while not path.exists() and is_running():
        time.sleep(0.02)


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_build_goes_on_and_no_reader_sees_half_a_set(world, built, tmp_path, seed):
    output, moments = tmp_path / "out", random.Random(seed)
    for _ in range(KILLS):
        running = PROCESSES.Process(target=build, args=(world, output))
        running.start()
        wait_for(output / "ingest", running.is_alive)
        time.sleep(moments.uniform(0, 4))
        running.kill()
        running.join()
        for manifest in (output / "dataset").glob(f"*/{MANIFEST}"):
            load(manifest.parent)  # checks digests, counts and pictures: what is committed is whole
    assert build(world, output) == 0
    assert digests(output) == digests(built)


def test_ctrl_c_leaves_no_process_no_rubbish_and_what_the_next_run_goes_on_with(world, built, tmp_path):
    output, temporary = tmp_path / "out", tmp_path / "temporary"
    temporary.mkdir()
    flags = ["--config", str(world.config), "--output", str(output), "--direct_num_workers=2"]
    running = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "build", *flags], env={**os.environ, "TMPDIR": str(temporary)},
        start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=answer_to_ctrl_c,
    )  # fmt: skip
    wait_for(output / "ingest" / "images", lambda: running.poll() is None)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to all of them
    _, errors = running.communicate()
    assert running.returncode == 130, errors.decode()
    assert errors.decode().startswith("interrupted; finished work is kept")
    with pytest.raises(ProcessLookupError):
        os.killpg(running.pid, 0)
    assert not list(temporary.iterdir())
    assert build(world, output) == 0
    assert digests(output) == digests(built)
