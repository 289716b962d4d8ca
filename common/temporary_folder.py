"""One folder for all temporary files of a process, by which those of killed processes are found and removed."""

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
    """Make a folder below TMPDIR, into which this process and its children put all temporary files; once a process.

    The folder goes at the end of the process. If the process is killed, the next one removes it: a process holds a lock
    on its folder as long as it or a fork of it lives. Folders and files of others are left alone. Where no folder can be
    made, TMPDIR stays as it is.
    """
    with suppress(OSError):
        base = Path(tempfile.gettempdir())
        if _locks or _NAME.fullmatch(base.name):  # made before, or by the parent
            return
        remove_abandoned(base)
        unlocked = Path(tempfile.mkdtemp(prefix=f".{PREFIX}"))
        folder = base / f"{PREFIX}{os.getpid()}-{unlocked.name[-8:]}"
        lock = os.open(unlocked, os.O_RDONLY)
        with suppress(OSError):  # a file system without locks, on which nothing counts as abandoned either
            fcntl.flock(lock, fcntl.LOCK_EX)
        unlocked.rename(folder)  # only now others may take it for abandoned
        _locks.append(lock)
        tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
        atexit.register(_remove_own, os.getpid(), folder)


def remove_abandoned(base: Path) -> None:
    """Remove the folders below `base` that processes of this user have left when they were killed."""
    for folder in sorted(base.glob(f"{PREFIX}*")):
        with suppress(OSError):
            status = folder.lstat()
            if _NAME.fullmatch(folder.name) and stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid():
                _remove_unlocked(folder)


def _remove_unlocked(folder: Path) -> None:
    lock = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails if its process lives
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _remove_own(pid: int, folder: Path) -> None:
    if os.getpid() == pid:  # not a fork of it
        shutil.rmtree(folder, ignore_errors=True)
