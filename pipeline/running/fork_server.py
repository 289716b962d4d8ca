"""Forks the local runner's worker processes from a process that has imported everything.

A process that is started from nothing needs seconds of a core until it has imported Beam and our jobs; a forked one
needs none. But only a process without threads can be forked safely, and Beam's runner has threads as soon as it works.
So one that does nothing else stands by: forked from the command before its first job or, where there are threads
already, started from nothing.
"""

import gc
import importlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

_STOP = ""  # no process has this name


def can_fork() -> bool:
    """Whether this process can still be forked: nothing but its main thread has run, and the system does not mind."""
    return sys.platform == "linux" and threading.active_count() == 1


class ForkServer:
    """Starts worker processes, each with an environment of its own, and tells how each has ended."""

    def __init__(self) -> None:
        fork, spawn = multiprocessing.get_context("fork"), multiprocessing.get_context("spawn")
        context = fork if can_fork() else spawn
        self._pipe, theirs = context.Pipe()
        self._ends: dict[str, Future[int]] = {}
        loaded = [name for name in sys.modules if name.startswith("pipeline.")]
        self._server = context.Process(target=_serve, args=(theirs, self._pipe, loaded))
        self._server.start()
        theirs.close()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def start(self, name: str, environment: dict[str, str]) -> "Future[int]":
        """Start a process; its exit code, or minus the signal that ended it, is the future's result."""
        end = self._ends[name] = Future()
        self._tell(name, environment)
        return end

    def kill(self, name: str) -> None:
        """End a process that does not end by itself."""
        self._tell(name, None)

    def close(self) -> None:
        """End the server, and what is left of its processes."""
        self._tell(_STOP, None)
        self._server.join()
        self._reader.join()
        self._pipe.close()

    def _tell(self, name: str, environment: dict[str, str] | None) -> None:
        try:
            self._pipe.send((name, environment))
        except OSError:
            self._lose_all()

    def _read(self) -> None:
        try:
            while True:
                name, code = self._pipe.recv()
                self._ends.pop(name).set_result(code)
        except (EOFError, OSError):
            self._lose_all()

    def _lose_all(self) -> None:
        """The server was killed: nobody will tell any more how its processes end."""
        while self._ends:
            self._ends.popitem()[1].set_result(-signal.SIGKILL)


_running: ForkServer | None = None


@contextmanager
def standing_by() -> Iterator[ForkServer]:
    """The fork server that stands by already, or one for as long as this context lasts."""
    global _running
    if _running:
        yield _running
        return
    _running = ForkServer()
    try:
        yield _running
    finally:
        _running.close()
        _running = None


def _serve(pipe: Connection, not_ours: Connection, modules: list[str]) -> None:
    not_ours.close()  # so that the end of the command is seen
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the command's to answer
    for name in modules:  # what the workers will need; a forked server has it already
        importlib.import_module(name)

    gc.freeze()  # what is there now stays: no worker need look through it for garbage, nor copy its pages for that
    context = multiprocessing.get_context("fork")
    running: dict[int, BaseProcess] = {}
    while True:
        for ready in wait([pipe, *running]):
            if isinstance(ready, int):
                process = running.pop(ready)
                process.join()
                with suppress(OSError):  # nobody listens any more
                    pipe.send((process.name, process.exitcode))
                continue
            try:
                name, environment = pipe.recv()
            except EOFError:
                name, environment = _STOP, None
            if environment is not None:
                process = context.Process(target=_work, args=(pipe, environment), name=name)
                process.start()
                running[process.sentinel] = process
                continue
            for process in running.values():
                if name in (process.name, _STOP):
                    process.kill()
            if name == _STOP:
                return


def _work(pipe: Connection, environment: dict[str, str]) -> None:
    pipe.close()
    os.environ.clear()
    os.environ.update(environment)
    from pipeline.running import local_worker

    local_worker.main()
