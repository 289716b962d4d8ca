"""One build at a time in a folder."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import UsageError
from pipeline.running.lock import build_lock
from tests.pipeline.small_world import build

HOLDER = """
import os, sys, time
from pipeline.running.lock import build_lock
with build_lock(sys.argv[1]):
    worker = os.fork()
    if worker:
        print(worker, flush=True)
    time.sleep(600)
"""


def test_a_folder_is_one_builds_until_it_ends_or_is_killed_though_a_worker_lives_on(world, tmp_path, capsys):
    output = tmp_path / "out"
    command = [sys.executable, "-c", HOLDER, str(output)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        worker = int(holder.stdout.readline())
        try:
            assert build(world, output) == 2
            assert "another build is running in this folder" in capsys.readouterr().err
            assert [path.name for path in output.iterdir()] == [".lock"]
            holder.kill()
            holder.wait()
            os.kill(worker, 0)
            with build_lock(str(output)):
                pass
        finally:
            os.kill(worker, signal.SIGKILL)


def test_a_build_that_fails_lets_go(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(UsageError, match="mine"), build_lock(str(tmp_path)):
            raise UsageError("mine")
