"""Progress of a local job: tasks increment a counter, and a thread displays it.

Beam's local runner reports nothing until a job ends. Its tasks run in this process, so a counter is enough. Clusters
display progress themselves.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

LINE_SECONDS = 30.0  # between two lines if stderr is not a terminal
BAR_SECONDS = 0.5


class _Counter:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.value = 0
        self.waiting_for: list[str] = []

    def add(self, count: int) -> None:
        with self._lock:
            self.value += count


_done = _Counter()


def advance(count: int) -> None:
    """Add `count` finished units to the progress."""
    _done.add(count)


def set_waiting_for(reasons: list[str]) -> None:
    """Set what the tasks wait for, such as slow hosts, to be displayed after the count."""
    _done.waiting_for = reasons


def stage_line(stage: str, text: str) -> str:
    """Return a line of output that begins with the name of a stage."""
    return f"{stage:<9} {text}"


@contextmanager
def show_progress(stage: str, unit: str, total: int) -> Iterator[None]:
    """Display on stderr how many of `total` units are done: a bar on a terminal, else a line every LINE_SECONDS."""
    global _done
    _done = _Counter()
    ended = threading.Event()
    show = _show_bar if sys.stderr.isatty() else _print_lines
    thread = threading.Thread(target=show, args=(_done, ended, stage, unit, total), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _show_bar(done: _Counter, ended: threading.Event, stage: str, unit: str, total: int) -> None:
    with tqdm(
        desc=stage_line(stage, "").rstrip(), total=total, unit=f" {unit}", unit_scale=True, leave=False
    ) as bar:
        while not ended.wait(BAR_SECONDS):
            bar.set_postfix_str(_waiting(done), refresh=False)
            bar.update(min(done.value, total) - bar.n)  # a repeated task counts its units twice


def _print_lines(done: _Counter, ended: threading.Event, stage: str, unit: str, total: int) -> None:
    start = time.monotonic()
    while not ended.wait(LINE_SECONDS):
        count, waiting = min(done.value, total), _waiting(done)
        parts = [stage_line(stage, f"{count:,} of {total:,} {unit}")]
        if count:
            rate = count / (time.monotonic() - start)
            parts.append(f"{rate:,.0f}/s, {(total - count) / rate:,.0f} s left")
        if waiting:
            parts.append(waiting)
        if len(parts) > 1:
            print(", ".join(parts), file=sys.stderr, flush=True)


def _waiting(done: _Counter) -> str:
    reasons = done.waiting_for
    return f"waiting for {', '.join(reasons)}" if reasons else ""
