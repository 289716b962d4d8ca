"""Lease on an output folder in an object store: exclusive access where there are no locks.

Each owner creates a numbered file exclusively. The highest number owns the folder until its lease expires or is removed;
if two commands find an expired lease, both try to create the next number and one succeeds. gs:// and s3:// guarantee
exclusive creation. On hdfs:// and webhdfs://, existence is checked before writing, so two commands that start at the same
moment may both own the folder until the first renewal stops one. A renewal reads and then writes, so a process suspended
in between for longer than its lease writes one renewal too many. The clocks of machines must agree within half of
LEASE_SECONDS.
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
    """Owner of a folder and expiry of the lease (Unix time); `token` distinguishes owners with the same number."""

    host: str
    pid: int
    command: str
    token: str
    expires: float

    @property
    def text(self) -> str:
        """Content of the lease file."""
        return json.dumps(asdict(self)) + "\n"


@contextmanager
def hold_lease(output: str, command: str = "build", flag: str = "--output") -> Iterator[None]:
    """Hold the lease on a folder during the block. Raises UsageError if another process holds it.

    The error names the kind of command that holds such leases, and the flag that chooses another folder. A thread renews
    the lease. If another process took the folder over because this process was suspended for longer than LEASE_SECONDS,
    UsageError is raised inside the block.
    """
    started_as = " ".join([os.path.basename(sys.argv[0]), *sys.argv[1:3]])
    mine = Lease(socket.gethostname(), os.getpid(), started_as, secrets.token_hex(8), _expiry())
    path = _take(output, mine, command, flag)
    ended, lost = threading.Event(), threading.Event()
    thread = threading.Thread(target=_renew, args=(output, path, mine, ended, lost), daemon=True)
    try:
        with _raised_when_lost(output, command):
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
def _raised_when_lost(output: str, command: str) -> Iterator[None]:
    """Raise UsageError in the main thread, anywhere in the block, when `_renew` sends _LOST."""

    def handler(*_: object) -> None:
        raise UsageError(
            f"{output}: this process was suspended for longer than its lease of {LEASE_SECONDS:.0f} s and another "
            f"{command} took over the folder; wait until that one ends, then run the same command again"
        )

    if threading.current_thread() is not threading.main_thread():
        yield  # Python allows signal handlers only in the main thread
        return
    before = signal.signal(_LOST, handler)
    try:
        yield
    finally:
        signal.signal(_LOST, before)


def _take(output: str, mine: Lease, command: str, flag: str) -> str:
    """Create the next lease and return its path. Raises UsageError if the present one has not expired."""
    names = _numbers(output)
    if names and (holder := _read(_path(output, names[-1]))) and holder.expires > time.time():
        until = datetime.fromtimestamp(holder.expires, UTC).strftime("%H:%M:%S UTC")
        raise UsageError(
            f"{output}: another {command} is running in this folder ({holder.command!r}, process {holder.pid} on "
            f"{holder.host}); wait until it ends, or choose another {flag}; if it was killed, its lease expires "
            f"at {until}"
        )
    number = names[-1] + 1 if names else 1
    path = _path(output, number)
    files.create(path, mine.text)
    holder = _read(path)  # the store may have created the file although its answer was lost
    if holder is None or holder.token != mine.token:
        raise UsageError(_just_started(output, command, flag))
    # A listing made while another command took the folder may show neither the new lease nor the previous one.
    for other in set(_numbers(output)) - {number}:
        if (holder := _read(_path(output, other))) and holder.expires > time.time():
            files.remove(path)
            raise UsageError(_just_started(output, command, flag))
    for old in names:
        files.remove(_path(output, old))
    return path


def _just_started(output: str, command: str, flag: str) -> str:
    return f"{output}: another {command} has just started in this folder; wait until it ends, or choose another {flag}"


def _renew(output: str, path: str, mine: Lease, ended: threading.Event, lost: threading.Event) -> None:
    while not ended.wait(REFRESH_SECONDS):
        try:
            holder = _read(path)
            if holder is None or holder.token != mine.token or _path(output, _numbers(output)[-1]) != path:
                lost.set()
                main = threading.main_thread().ident
                if main and callable(
                    signal.getsignal(_LOST)
                ):  # without a handler, the signal ends the process
                    signal.pthread_kill(main, _LOST)
                return
            files.write_text(path, replace(mine, expires=_expiry()).text)
        except (DataError, IndexError, OSError):
            # The store did not answer, or this machine has no file descriptors or no disk space left. Several more attempts
            # follow before the lease expires.
            continue


def _read(path: str) -> Lease | None:
    """Return a lease, or None if the file was removed or is not a lease. Raises DataError if it cannot be read."""
    text = files.read_existing(path)
    if text is None:
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
