"""Locks of files and folders: one process at a time, and file systems that have none."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from common.errors import UsageError
from common.locks import locked_folder, open_locked, take_lock, try_lock, wait_for_lock
from training.run_directory import check_unlocked, locked
from training.study import run_state


def fail_with(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def flock(_file: int, _operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)


def test_a_lock_is_of_one_block_at_a_time_and_ends_with_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    for _ in range(2):
        with try_lock(path) as first, try_lock(path) as second:
            assert (first, second) == (True, False)
            with pytest.raises(KeyboardInterrupt), wait_for_lock(path, stop=lambda: True):
                pass
    with pytest.raises(ValueError, match="inside"), wait_for_lock(path):
        raise ValueError("inside")
    with wait_for_lock(path):
        assert open_locked(path) is None


@pytest.mark.parametrize("code", [errno.EACCES, errno.EAGAIN])
def test_the_errors_for_a_lock_of_another_process_differ_between_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    fail_with(monkeypatch, code)
    assert open_locked(tmp_path / "lock") is None


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF])
def test_commands_work_on_file_systems_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Network file systems are often mounted without locks; a lock made of a file would outlive a killed process."""
    fail_with(monkeypatch, code)
    with locked(tmp_path / "run"):
        assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    check_unlocked(tmp_path / "run")
    with run_state.try_lock(tmp_path, "run") as taken:
        assert taken
    assert not run_state.is_locked(tmp_path, "run")
    with wait_for_lock(tmp_path / "lock"), (tmp_path / "file").open("ab") as file:
        assert take_lock(file.fileno())
    with locked_folder(tmp_path, "publish", "--to"):
        pass


def test_a_folder_is_locked_once(tmp_path: Path) -> None:
    with (
        locked_folder(tmp_path, "publish", "--to"),
        pytest.raises(UsageError, match=r"another publish is writing to this folder; .* choose another --to"),
        locked_folder(tmp_path, "publish", "--to"),
    ):
        pytest.fail("must not be locked twice")
    assert not list(tmp_path.iterdir())
