"""Show how far a job on this machine is: tasks count what they have done, a thread shows the count.

Beam's local runner reports nothing until it has ended. Its tasks run in this process, so a counter is enough; on a
cluster the count is not shown, because a cluster shows progress itself.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from pipeline.running.summary import stage_line

LINE_SECONDS = 30.0  # between two lines where the output is no terminal
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
    """Count more units as done."""
    _done.add(count)


def set_waiting_for(what: list[str]) -> None:
    """Set what the work waits for, to be shown beside the count; an empty list clears it."""
    _done.waiting_for = what


@contextmanager
def show_progress(stage: str, unit: str, total: int) -> Iterator[None]:
    """Show on stderr how many of `total` units are done: a bar on a terminal, a line now and then in a pipe."""
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
            bar.update(min(done.value, total) - bar.n)  # a task that runs again counts its work again


def _print_lines(done: _Counter, ended: threading.Event, stage: str, unit: str, total: int) -> None:
    start = time.monotonic()
    while not ended.wait(LINE_SECONDS):
        count, waiting = min(done.value, total), _waiting(done)
        parts = [stage_line(stage, f"{count:,} of {total:,} {unit}")]
        if count:
            rate = count / (time.monotonic() - start)
            parts.append(f"{rate:,.0f}/s, {(total - count) / rate:,.0f} s to go")
        if waiting:
            parts.append(waiting)
        if len(parts) > 1:
            print(", ".join(parts), file=sys.stderr, flush=True)


def _waiting(done: _Counter) -> str:
    what = done.waiting_for
    return f"waiting for {', '.join(what)}" if what else ""
