"""Tasks that were begun and never ended: whoever tries them again knows that something may have killed the first try.

A task leaves a file when it begins and removes it at its end. So a retry of an engine, which tells nothing of the try
before, and a second run of a command find the tasks that a crash has ended, among those that were merely stopped.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline import files


@contextmanager
def noted(folder: str, task: str) -> Iterator[bool]:
    """Note that a task begins, and, if nothing is raised, that it has ended; gives whether it was begun before."""
    path = files.join(folder, task)
    again = files.exists(path)
    if not again:
        files.write_text(path, "begun\n")  # a store may take no empty objects
    yield again
    files.remove(path)


def any_left(folder: str) -> bool:
    """Whether a task was begun and never ended."""
    return bool(files.names(folder, "*"))
