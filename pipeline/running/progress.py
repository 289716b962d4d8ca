"""How far a job on this machine has come: its processes note what they have done, the caller shows it.

Beam's local runner tells nothing until it has ended. So each task appends how much it has done to a file whose name
it finds in its environment, and the calling process reads that file. Workers of a cluster have no such variable, and
note nothing: a cluster shows its progress itself.
"""

import os
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

VARIABLE = "CONTROLLED_NOISE_PROGRESS"
RECORD = struct.Struct("<q")
LINE_SECONDS = 30.0  # between two lines where the output is no terminal
BAR_SECONDS = 0.5


def advance(count: int) -> None:
    """Note that `count` more units are done."""
    if path := os.environ.get(VARIABLE):
        # One small append is atomic: processes need no lock.
        with open(path, "ab", buffering=0) as file:
            file.write(RECORD.pack(count))


@contextmanager
def shown(stage: str, unit: str, total: int) -> Iterator[None]:
    """Show on stderr how many of `total` units are done: a bar on a terminal, now and then a line in a pipe."""
    with tempfile.TemporaryDirectory(prefix="progress-") as folder:
        path = os.path.join(folder, "done")
        os.environ[VARIABLE] = path
        ended = threading.Event()
        thread = threading.Thread(
            target=_show_bar if sys.stderr.isatty() else _print_lines,
            args=(path, ended, stage, unit, total),
            daemon=True,
        )
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            del os.environ[VARIABLE]


def done(path: str) -> int:
    """The sum of all notes so far."""
    try:
        with open(path, "rb") as file:
            notes = file.read()
    except FileNotFoundError:
        return 0
    return sum(count for (count,) in RECORD.iter_unpack(notes[: len(notes) // RECORD.size * RECORD.size]))


def _show_bar(path: str, ended: threading.Event, stage: str, unit: str, total: int) -> None:
    with tqdm(desc=f"{stage:<7}", total=total, unit=f" {unit}", unit_scale=True, leave=False) as bar:
        while not ended.wait(BAR_SECONDS):
            # A bundle that is tried again notes its work again.
            bar.update(min(done(path), total) - bar.n)


def _print_lines(path: str, ended: threading.Event, stage: str, unit: str, total: int) -> None:
    start = time.monotonic()
    while not ended.wait(LINE_SECONDS):
        if count := min(done(path), total):
            rate = count / (time.monotonic() - start)
            left = f"{rate:,.0f}/s, {(total - count) / rate:,.0f} s to go"
            print(f"{stage:<7} {count:,} of {total:,} {unit}, {left}", file=sys.stderr, flush=True)
