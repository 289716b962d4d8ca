"""A lease on an output folder in a bucket, which has no locks: one file for each owner, numbered and created exclusively.

The owner of the highest number holds the folder until its lease expires or is removed. Two commands that find an expired
lease both try to create the next number, and the store lets one of them. gs:// and s3:// refuse to create an object that
exists; hdfs:// and webhdfs:// are asked first and then written, so there two commands that start within one request
may both get the folder, until the first extension ends one of them. Extending is reading and then writing: a process that
stood still between the two, for longer than its lease, writes one lease more. Clocks of machines may differ by less than half of LEASE_SECONDS.
"""

import json
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from common.errors import DataError, UsageError
from common.json_records import parse_stored
from pipeline import files
from pipeline.layout import Layout

LEASE_SECONDS = 120.0
REFRESH_SECONDS = 20.0
_LOST = signal.SIGUSR1


@dataclass(frozen=True)
class Lease:
    """Who holds a folder, and until when (seconds since 1970). `token` tells two owners of one number apart."""

    host: str
    pid: int
    command: str
    token: str
    expires: float

    @property
    def text(self) -> str:
        """The content of the lease's file."""
        return json.dumps(asdict(self)) + "\n"


@contextmanager
def hold_lease(output: str) -> Iterator[None]:
    """Hold a folder in a bucket until the end of the block. Raises UsageError if another process does.

    A thread extends the lease. If it finds that another process has taken the folder over, because this one stood still
    for longer than the lease lasts, UsageError is raised within the block.
    """
    command = " ".join([os.path.basename(sys.argv[0]), *sys.argv[1:3]])
    mine = Lease(socket.gethostname(), os.getpid(), command, secrets.token_hex(8), _expiry())
    path = _take(output, mine)
    ended, lost = threading.Event(), threading.Event()
    thread = threading.Thread(target=_extend, args=(output, path, mine, ended, lost), daemon=True)
    try:
        with _raised_when_lost(output):
            thread.start()
            try:
                yield
            finally:
                ended.set()
                thread.join()
    finally:
        if not lost.is_set():
            files.remove(path)


@contextmanager
def _raised_when_lost(output: str) -> Iterator[None]:
    """Raise UsageError in the main thread, wherever it is in the block, when `_extend` sends _LOST."""

    def handler(*_: object) -> None:
        raise UsageError(
            f"{output}: this process stood still for longer than its lease of {LEASE_SECONDS:.0f} s, and another build "
            "has taken the folder over; wait until that has ended, and run the same command again"
        )

    if threading.current_thread() is not threading.main_thread():
        yield  # Python allows handlers only there; whoever calls from elsewhere sees nothing
        return
    before = signal.signal(_LOST, handler)
    try:
        yield
    finally:
        signal.signal(_LOST, before)


def _take(output: str, mine: Lease) -> str:
    """Create the next lease and return its path. Raises UsageError if the present one has not expired."""
    names = _numbers(output)
    if names and (holder := _read(_path(output, names[-1]))) and holder.expires > time.time():
        until = datetime.fromtimestamp(holder.expires, UTC).strftime("%H:%M:%S UTC")
        raise UsageError(
            f"{output}: another build is at work in this folder ({holder.command!r}, process {holder.pid} on "
            f"{holder.host}); wait until it has ended, or give another --output; if it was killed, its lease expires "
            f"at {until}"
        )
    number = names[-1] + 1 if names else 1
    path = _path(output, number)
    files.create(path, mine.text)
    holder = _read(path)  # a store may have created the file and its answer be lost
    if holder is None or holder.token != mine.token:
        raise UsageError(_just_started(output))
    # A listing that was made while another command took the folder may have shown neither its lease nor the one before.
    for other in set(_numbers(output)) - {number}:
        if (holder := _read(_path(output, other))) and holder.expires > time.time():
            files.remove(path)
            raise UsageError(_just_started(output))
    for old in names:
        files.remove(_path(output, old))
    return path


def _just_started(output: str) -> str:
    return f"{output}: another build has just started in this folder; wait until it has ended, or give another --output"


def _extend(output: str, path: str, mine: Lease, ended: threading.Event, lost: threading.Event) -> None:
    while not ended.wait(REFRESH_SECONDS):
        try:
            holder = _read(path)
            if holder is None or holder.token != mine.token or _path(output, _numbers(output)[-1]) != path:
                lost.set()
                main = threading.main_thread().ident
                if main and callable(signal.getsignal(_LOST)):  # without a handler it would end the process
                    signal.pthread_kill(main, _LOST)
                return
            files.write_text(path, replace(mine, expires=_expiry()).text)
        except (DataError, IndexError):
            continue  # the store does not answer; there are several more tries before the lease expires


def _read(path: str) -> Lease | None:
    """Return a lease; None if it has just been removed, or is not one. Raises DataError if it cannot be read."""
    try:
        text = files.read_text(path)
    except DataError:
        if files.exists(path):
            raise
        return None
    try:
        return parse_stored(Lease, text, path, "")
    except DataError:
        return None


def _numbers(output: str) -> list[int]:
    names = files.names(Layout(output).leases, "*.json")
    return sorted(int(name.removesuffix(".json")) for name in names if name.removesuffix(".json").isdecimal())


def _path(output: str, number: int) -> str:
    return files.join(Layout(output).leases, f"{number:08d}.json")


def _expiry() -> float:
    return time.time() + LEASE_SECONDS
