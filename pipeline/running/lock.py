"""Lock on an output folder: two builds in one folder would remove each other's tables."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from common.errors import UsageError
from common.locks import locked_folder
from pipeline import files
from pipeline.layout import Layout
from pipeline.running.lease import hold_lease


@contextmanager
def build_lock(output: str, command: str = "build", flag: str = "--output") -> Iterator[None]:
    """Lock a folder during the block. Raises UsageError if another process holds the lock.

    The error names the kind of command that locks such folders, and the flag that chooses another one.

    The lock is a POSIX lock on an empty file: it ends with the process, and forked workers do not inherit it. In object
    stores, a lease replaces it (lease.py). On file systems without locks, nothing prevents two builds.
    """
    if "://" in output:
        with hold_lease(output, command, flag):
            yield
        return
    files.make_folder(output)
    try:
        file = os.open(Layout(output).lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError:  # read-only folder: a build with nothing to write may still run
        yield
        return
    try:
        with suppress(OSError):
            _take(file, output, command, flag)
        yield
    finally:
        os.close(file)


@contextmanager
def folder_lock(folder: str, command: str, flag: str) -> Iterator[None]:
    """Lock an existing folder during the block, without a file in it. Raises UsageError if another process holds the lock.

    For folders that are given away, such as a publication. Object stores and file systems without locks: as `build_lock`.
    """
    if "://" in folder:
        with hold_lease(folder, command, flag):
            yield
        return
    with locked_folder(folder, command, flag):
        yield


def _take(file: int, output: str, command: str, flag: str) -> None:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:  # systems differ in which one they raise
        raise UsageError(
            f"{output}: another {command} is running in this folder; wait until it ends, or choose another {flag}"
        ) from error
