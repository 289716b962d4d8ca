"""Decode images in a small pool of processes, so that a harmful file affects no other image.

An image that crashes its process, or exceeds the deadline, is rejected at once; the other images of the process are
neither lost nor decoded twice. pebble takes twice the CPU time (benchmarks/decode_pool.py), and loky ends the whole pool
when one process dies.
"""

import atexit
import fcntl
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, TypeVar

from common.errors import DataError
from pipeline.ingest.decode_worker import greeting, request_line, unpack
from pipeline.ingest.process_image import ImageRejection, ImageRequest, ImageResult
from pipeline.ingest_config import IngestConfig

Key = TypeVar("Key", bound=Hashable)

AHEAD_SECONDS = 0.05  # work queued in each process, so that it never waits for this one
LEAST_AHEAD, MOST_AHEAD = 2, 64  # bounds of the queue in images
GATHER_SECONDS = 0.003  # results within this time are read together
# Size of the pipe for results of a process. Linux gives a user 64 MiB for all pipes (fs.pipe-user-pages-soft), and then 8 KiB
# for each further one: slow, and reached by 60 processes with 1 MiB each.
PIPE_BYTES = 1 << 18
TRIES_WHEN_KILLED = 2  # SIGKILL comes from the kernel when memory is short, or from an operator
# If a deadline is noticed this much too late, this process was stopped when it passed (Ctrl-Z, docker pause).
STOPPED_SECONDS = 5.0
# Without these, glibc returns the memory of each image to the system and allocates it again: twice the CPU time.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(128 << 20)}
# There is a decoding process per core: threads of BLAS would only spin beside it.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
# SIGALRM ends a process that was stopped for longer than its own deadline (decode_worker.py).
EXTERNAL = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Delay Ctrl-C while a process is started, so that no process is left behind; the processes never receive it.

    The new process inherits the signal mask. The mask does not apply to other threads; if one of them receives the
    signal, Python would raise KeyboardInterrupt in the main thread, which the handler prevents.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    handler = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread() and callable(handler)
    received: list[int] = []
    if is_main:
        signal.signal(signal.SIGINT, lambda number, _: received.append(number))
    try:
        yield
    finally:
        if is_main:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if received:
            signal.raise_signal(signal.SIGINT)


class _Decoder:
    """One decoding process and its unfinished requests."""

    def __init__(self, source: str, config: IngestConfig) -> None:
        # The process imports from the folders of this one alone: -P keeps `-m` from adding the working folder, where any file
        # may have the name of a module. In sys.path, that folder is an empty entry.
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pipeline.ingest.decode_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**MALLOC, **ONE_THREAD, **os.environ, "PYTHONPATH": path},
        )
        assert self._process.stdin
        assert self._process.stdout
        self._requests: IO[bytes] = self._process.stdin
        self.results: int = self._process.stdout.fileno()
        # A blocking write could wait for a process that itself waits until its results are read.
        for file in (self.requests, self.results):
            os.set_blocking(file, False)
        if hasattr(fcntl, "F_SETPIPE_SZ"):  # Linux
            with suppress(OSError):
                fcntl.fcntl(self.results, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._outgoing = bytearray(greeting(source, config))
        self.flush()
        self.is_ready = False
        self.waiting: deque[tuple[object, ImageRequest]] = deque()
        self.since = 0.0  # when the process began the first of them
        self._buffer = bytearray()

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    @property
    def requests(self) -> int:
        """Return the descriptor of the pipe for requests."""
        return self._requests.fileno()

    @property
    def has_unsent(self) -> bool:
        """Return whether `flush` has more to send."""
        return bool(self._outgoing)

    def send(self, work: list[tuple[object, ImageRequest]]) -> None:
        """Add requests, and send what the pipe has room for."""
        if not self.waiting:
            self.since = time.monotonic()
        self.waiting.extend(work)
        self._outgoing += request_line([request for _, request in work])
        self.flush()

    def flush(self) -> None:
        """Send what the pipe has room for. A process that has ended is noticed by `read`."""
        try:
            sent = self._requests.write(self._outgoing)
        except BrokenPipeError:
            sent = len(self._outgoing)
        del self._outgoing[: sent or 0]  # None: the pipe is full

    def read(self) -> Iterator[ImageResult | None]:
        """Yield the results that have arrived. Raises EOFError if the process has ended."""
        ended = False
        with suppress(BlockingIOError):
            while not ended:
                data = os.read(self.results, PIPE_BYTES)
                ended = not data
                self._buffer += data
        yield from unpack(self._buffer)
        if ended:
            raise EOFError

    def close(self, kill: bool = False) -> int:
        """End the process; return its exit code, or the negative number of the signal that ended it."""
        if kill:
            self._process.kill()
        with suppress(BrokenPipeError):
            self._requests.close()
        code = self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()
        return code


class DecodePool:
    """Up to `processes` decoding processes for the images of one source folder. Only one thread uses it at a time."""

    def __init__(self, source: str, config: IngestConfig, processes: int) -> None:
        self._source, self._config, self._processes = source, config, processes
        self._decoders: list[_Decoder] = []
        self._lock = threading.Lock()
        self._killed: dict[object, int] = {}  # number of kills, by key
        self._ahead = float(LEAST_AHEAD)
        atexit.register(self.close)

    def close(self) -> None:
        """End all processes."""
        while self._decoders:
            self._decoders.pop().close(kill=True)

    def start(self) -> None:
        """Start the processes without waiting until they have loaded their modules."""
        with self._lock:
            while len(self._decoders) < self._processes:
                self._add()

    def _add(self) -> None:
        with _uninterrupted():
            self._decoders.append(_Decoder(self._source, self._config))

    def process_all(self, requests: Iterable[tuple[Key, ImageRequest]]) -> Iterator[tuple[Key, ImageResult]]:
        """Process images; yield each key with its result, in order of completion.

        Raises DataError if the processes cannot be started.
        """
        self.start()
        with self._lock:
            yield from self._process_all(iter(requests))

    def _process_all(self, requests: Iterator[tuple[Key, ImageRequest]]) -> Iterator[tuple[Key, ImageResult]]:
        retries: deque[tuple[object, ImageRequest]] = deque()
        self._killed = {}
        more = True
        try:
            while True:
                for decoder in self._decoders:
                    more = self._feed(decoder, requests, retries) and more
                busy = [decoder for decoder in self._decoders if decoder.waiting]
                if not busy and not more and not retries:
                    return
                self._wait(busy)
                for decoder in busy:
                    yield from self._results_of(decoder, retries)  # type: ignore[misc]  # the keys that came in
        finally:
            if any(decoder.waiting for decoder in self._decoders):  # the caller has stopped early
                self.close()

    def _feed(
        self,
        decoder: _Decoder,
        requests: Iterator[tuple[Key, ImageRequest]],
        retries: deque[tuple[object, ImageRequest]],
    ) -> bool:
        """Refill the queue of a decoder; return False when there are no further requests."""
        ahead = round(self._ahead)
        if len(decoder.waiting) > ahead // 2:
            return True
        work: list[tuple[object, ImageRequest]] = []
        more = True
        while more and len(decoder.waiting) + len(work) < ahead:
            if retries:
                work.append(retries.popleft())
            elif (following := next(requests, None)) is not None:
                work.append(following)
            else:
                more = False
        if work:
            decoder.send(work)
        return more

    def _wait(self, busy: list[_Decoder]) -> None:
        """Wait for results or a deadline, and send requests meanwhile."""
        started = [decoder.since for decoder in busy if decoder.is_ready]
        timeout = max(0.0, min(started) + self._config.decode_seconds - time.monotonic()) if started else None
        poll = select.poll()
        for decoder in busy:
            poll.register(decoder.results, select.POLLIN)
            if decoder.has_unsent:
                poll.register(decoder.requests, select.POLLOUT)
        if poll.poll(None if timeout is None else 1000 * timeout) and self._ahead > 2 * LEAST_AHEAD:
            time.sleep(GATHER_SECONDS)
        for decoder in busy:
            if decoder.has_unsent:
                decoder.flush()

    def _results_of(
        self, decoder: _Decoder, retries: deque[tuple[object, ImageRequest]]
    ) -> Iterator[tuple[object, ImageResult]]:
        """Yield the results of a decoder; replace it if it has ended, or exceeds the deadline."""
        limit, count = self._config.decode_seconds, 0
        try:
            for result in decoder.read():
                if result is None:
                    decoder.is_ready, decoder.since = True, time.monotonic()
                else:
                    count += 1
                    yield decoder.waiting.popleft()[0], result
        except EOFError:
            yield from self._replace(decoder, retries, decoder.close())
            return
        now = time.monotonic()
        if count:
            pace = (now - decoder.since) / count
            self._ahead = min(
                MOST_AHEAD, max(LEAST_AHEAD, 0.5 * (self._ahead + AHEAD_SECONDS / max(pace, 1e-6)))
            )
            decoder.since = now
        elif decoder.waiting and decoder.is_ready and now - decoder.since >= limit:
            if now - decoder.since > limit + STOPPED_SECONDS:
                decoder.since = now
                return
            code = decoder.close(kill=True)
            yield from self._replace(decoder, retries, code, f"not decoded after {limit:g} s")

    def _replace(
        self,
        decoder: _Decoder,
        retries: deque[tuple[object, ImageRequest]],
        code: int,
        timeout_detail: str = "",
    ) -> Iterator[tuple[object, ImageRejection]]:
        """Start a process for one that ended: its first image is the cause, the others are queued again."""
        if not decoder.is_ready:
            self._decoders.remove(decoder)
            raise DataError(
                f"a decoding process did not start ({_exit_reason(code)}); see its error message above"
            )
        self._decoders.remove(decoder)
        self._add()
        if not decoder.waiting:
            return
        key, request = decoder.waiting.popleft()
        retries.extendleft(reversed(decoder.waiting))
        if timeout_detail:
            yield key, ImageRejection("decoder_timeout", timeout_detail)
            return
        self._killed[key] = self._killed.get(key, 0) + 1
        if -code in EXTERNAL and self._killed[key] < TRIES_WHEN_KILLED:
            retries.appendleft((key, request))
            return
        times = f", {self._killed[key]} times" if self._killed[key] > 1 else ""
        yield (
            key,
            ImageRejection(
                "decoder_crashed", f"the process that decoded it ended by {_exit_reason(code)}{times}"
            ),
        )


_shared: dict[tuple[str, IngestConfig, int], tuple[DecodePool, int]] = {}  # with the number of its users
_shared_lock = threading.Lock()


def acquire(base: str, config: IngestConfig, processes: int) -> DecodePool:
    """Return the pool that is shared within this process; each user releases it."""
    with _shared_lock:
        key = (base, config, processes)
        pool, users = _shared.get(key) or (DecodePool(base, config, processes), 0)
        _shared[key] = (pool, users + 1)
        return pool


def release(pool: DecodePool) -> None:
    """End the processes of a pool when its last user releases it."""
    with _shared_lock:
        for key, (shared, users) in list(_shared.items()):
            if shared is pool:
                if users > 1:
                    _shared[key] = (pool, users - 1)
                else:
                    del _shared[key]
                    pool.close()


def _exit_reason(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
