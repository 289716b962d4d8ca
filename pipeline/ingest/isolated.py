"""Pictures made in a process of their own, so that a file that crashes its decoder takes nothing else with it.

A decoder is C code that reads what strangers sent. If it ends its process, that is no exception which could be caught;
where this has happened, or may have, the pictures are made here: slower by a process's start and the way of the bytes
there and back, and otherwise the same.
"""

import multiprocessing
import signal
from multiprocessing.connection import Connection

from pipeline.config import IngestConfig
from pipeline.ingest.picture import Picture, make_picture
from pipeline.rejections import Rejected

TRIES = 2  # the system, too, ends processes: for want of memory, say


class Isolated:
    """Makes pictures in another process, and starts another one when that has died."""

    def __init__(self, config: IngestConfig) -> None:
        self._config = config
        self._process: multiprocessing.process.BaseProcess | None = None

    def make(self, data: bytes) -> Picture:
        """As make_picture does. Raises Rejected, too, for what ends the process each time."""
        how = ""
        for _ in range(TRIES):
            if self._process is None:
                self._start()
            try:
                self._pipe.send_bytes(data)
                answer = self._pipe.recv()
            except (EOFError, OSError):  # it is gone
                how = self._end()
                continue
            if isinstance(answer, Picture):
                return answer
            raise Rejected(*answer)
        raise Rejected("decoder_crashed", f"its process ended by {how}, {TRIES} times")

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._end()

    def _start(self) -> None:
        # A fork would copy locks that other threads of this process hold.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._config), daemon=True)
        self._process.start()
        theirs.close()

    def _end(self) -> str:
        assert self._process
        self._pipe.close()
        self._process.join()
        code = self._process.exitcode or 0
        self._process = None
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _serve(pipe: Connection, config: IngestConfig) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the pipeline's to answer
    while True:
        try:
            data = pipe.recv_bytes()
        except EOFError:  # nobody asks any more
            return
        try:
            answer: object = make_picture(data, config)
        except Rejected as rejected:
            answer = (rejected.code, rejected.detail)
        pipe.send(answer)
