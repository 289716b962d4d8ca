"""One build at a time in a folder: two would take each other's tables away."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from common.errors import UsageError
from pipeline import files
from pipeline.layout import Layout
from pipeline.running.lease import hold_lease


@contextmanager
def build_lock(output: str) -> Iterator[None]:
    """Hold a folder until the end. Raises UsageError if another process does.

    The lock is one of POSIX's on an empty file: it ends with the process, and workers that were forked from it do not
    hold it on. In buckets, which know no locks, a lease stands for it (lease.py). Some file systems have none; there it
    is up to the user.
    """
    if "://" in output:
        with hold_lease(output):
            yield
        return
    files.make_folder(output)
    try:
        file = os.open(Layout(output).lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except (
        OSError
    ):  # not ours to write in: a build that has nothing left to do may go on, and others will say so
        yield
        return
    try:
        with suppress(OSError):
            _take(file, output)
        yield
    finally:
        os.close(file)


def _take(file: int, output: str) -> None:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:  # which of the two is up to the system
        raise UsageError(
            f"{output}: another build is at work in this folder; wait until it has ended, or give another --output"
        ) from error
