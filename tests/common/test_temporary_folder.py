"""Temporary folders of killed processes are removed by the next process; those of running processes stay."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from common.temporary_folder import PREFIX, remove_abandoned

HOLD = """
import sys, tempfile
from common.temporary_folder import use_process_folder
use_process_folder()
tempfile.mkdtemp(prefix="beam-pipeline-temp")
print(tempfile.gettempdir(), flush=True)
sys.stdin.read()
"""


def start(base: Path) -> tuple["subprocess.Popen[str]", Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        env={**os.environ, "TMPDIR": str(base)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def test_a_killed_process_leaves_its_folder_to_the_next_one(tmp_path: Path) -> None:
    others = [
        tmp_path / f"{PREFIX}notes",
        tmp_path / "beam-pipeline-temp1",
        tmp_path / f"{PREFIX}1-aaaaaaaa.txt",
    ]
    for other in others:
        other.mkdir()
    (tmp_path / f"{PREFIX}1-linked_1").symlink_to(others[0])
    killed, left = start(tmp_path)
    alive, kept = start(tmp_path)
    assert left.parent == kept.parent == tmp_path
    assert left.name.startswith(f"{PREFIX}{killed.pid}-")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert list(left.glob("beam-pipeline-temp*"))
    following, new = start(tmp_path)
    assert not left.exists()
    assert kept.exists()
    assert new.exists()
    for process in (alive, following):
        process.communicate("")
    assert sorted(tmp_path.iterdir()) == sorted([*others, tmp_path / f"{PREFIX}1-linked_1"])


def test_a_child_uses_the_folder_of_its_parent(tmp_path: Path) -> None:
    alive, kept = start(tmp_path)
    child, same = start(kept)
    assert same == kept
    child.communicate("")
    assert kept.exists()
    alive.communicate("")
    assert not kept.exists()


def test_a_folder_that_cannot_be_removed_harms_nobody(tmp_path: Path) -> None:
    remove_abandoned(tmp_path / "none")
    assert tempfile.gettempdir()
