"""A file that one process at a time has open for appending."""

import fcntl
import os


def open_locked(path: str) -> int | None:
    """Open a file for reading and appending, create it if needed, and lock it; return None if another process locks it.

    The lock ends when the descriptor is closed, and with the process. Raises OSError if the file cannot be opened.
    """
    while True:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return None
        if _is_same(file, path):
            return file
        os.close(file)  # it was replaced or removed between opening and locking


def _is_same(file: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False
