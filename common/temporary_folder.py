"""One folder for all temporary files of a process, so that the files of killed processes can be removed."""

import atexit
import fcntl
import os
import re
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

PREFIX = "controlled-noise-"
_NAME = re.compile(rf"{PREFIX}\d+-\w{{8}}")  # with the process id
_locks: list[int] = []


def use_process_folder() -> None:
    """Create a folder below TMPDIR and use it for all temporary files of this process and its children.

    The folder is removed at exit. If the process is killed, the next process removes it: each process and its forks hold
    a lock on their folder while they live. Other folders are left alone. If no folder can be created, TMPDIR is unchanged.
    """
    with suppress(OSError):
        base = Path(tempfile.gettempdir())
        if _locks or _NAME.fullmatch(base.name):  # already created, by this process or its parent
            return
        remove_abandoned(base)
        unlocked = Path(tempfile.mkdtemp(prefix=f".{PREFIX}"))
        folder = base / f"{PREFIX}{os.getpid()}-{unlocked.name[-8:]}"
        lock = os.open(unlocked, os.O_RDONLY)
        with suppress(OSError):  # without locks on this file system, no folder counts as abandoned
            fcntl.flock(lock, fcntl.LOCK_EX)
        unlocked.rename(folder)  # visible to other processes only after it is locked
        _locks.append(lock)
        tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
        atexit.register(_remove_own, os.getpid(), folder)


def remove_abandoned(base: Path) -> None:
    """Remove the folders below `base` that killed processes of this user left behind."""
    for folder in sorted(base.glob(f"{PREFIX}*")):
        with suppress(OSError):
            status = folder.lstat()
            if _NAME.fullmatch(folder.name) and stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid():
                _remove_unlocked(folder)


def _remove_unlocked(folder: Path) -> None:
    lock = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while the process lives
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _remove_own(pid: int, folder: Path) -> None:
    if os.getpid() == pid:  # not in a fork
        shutil.rmtree(folder, ignore_errors=True)
