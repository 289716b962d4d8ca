"""Locks of files and folders: one process at a time. A lock ends with its process, however that ends; files stay."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from common.errors import UsageError

POLL_SECONDS = 0.5  # between two attempts to get a lock


def take_lock(opened: int) -> bool:
    """Lock an open file or folder until it is closed, without waiting; return False if another process locks it.

    Some file systems have no locks (NFS: for folders; Lustre: depending on its mount options). There, nothing is locked, rather
    than that no command could work in them.
    """
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # systems differ in which one they raise
        return False
    except OSError:
        return True
    return True


def open_locked(path: str | os.PathLike[str]) -> int | None:
    """Open a file for reading and appending, create it if needed, and lock it; return None if another process locks it.

    The lock, by `take_lock`, ends when the descriptor is closed. Raises OSError if the file cannot be opened.
    """
    while True:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if not take_lock(file):
            os.close(file)
            return None
        if _is_same(file, path):
            return file
        os.close(file)  # it was replaced or removed between opening and locking


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


@contextmanager
def locked_folder(folder: str | os.PathLike[str], command: str, flag: str) -> Iterator[None]:
    """Lock an existing folder by `take_lock` during the block, without a file in it.

    Raises UsageError if another process has it locked: the error names the kind of command that does this, and the flag that
    chooses another folder.
    """
    opened = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if not take_lock(opened):
            raise UsageError(
                f"{folder}: another {command} is writing to this folder; wait until it ends, or choose another {flag}"
            )
        yield
    finally:
        os.close(opened)


def _is_same(file: int, path: str | os.PathLike[str]) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False
