"""Files that one process at a time locks. A lock ends with its process, however it ends; the file stays."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

POLL_SECONDS = 0.5  # between two attempts to get a lock


def open_locked(path: str | os.PathLike[str]) -> int | None:
    """Open a file for reading and appending, create it if needed, and lock it; return None if another process locks it.

    The lock ends when the descriptor is closed. On file systems without locks, nothing is locked. Raises OSError if the file
    cannot be opened.
    """
    while True:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if not take(file):
            os.close(file)
            return None
        if _is_same(file, path):
            return file
        os.close(file)  # it was replaced or removed between opening and locking


def take(file: int) -> bool:
    """Lock an open file without waiting; return False if another process locks it.

    Some network file systems have no locks: there, nothing is locked, rather than that no command could work in them.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # systems differ in which one they raise
        return False
    except OSError:
        return True
    return True


@contextmanager
def try_lock(path: str | os.PathLike[str]) -> Iterator[bool]:
    """Lock a file during the block without waiting, as `open_locked`; yield False if another process locks it."""
    file = open_locked(path)
    try:
        yield file is not None
    finally:
        if file is not None:
            os.close(file)


@contextmanager
def wait_for_lock(path: str | os.PathLike[str], stop: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Lock a file during the block, as `open_locked`, after waiting for others. Raises KeyboardInterrupt if `stop()`."""
    while (file := open_locked(path)) is None:
        if stop():
            raise KeyboardInterrupt
        time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        os.close(file)


def _is_same(file: int, path: str | os.PathLike[str]) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False
