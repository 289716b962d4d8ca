"""Run the steps of jobs more than once, as an engine may: it keeps the results of one attempt, and drops the others."""

import functools
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import apache_beam as beam
import pytest

from pipeline.jobs.gather import call_with_all

MAKERS = ("Map", "FlatMap", "MapTuple", "ParDo")  # how jobs make steps of functions
MODES = ("keep the last", "keep the first", "saw less", "died")

# What another attempt of a task sees can differ only in what comes from outside of the engine, so a step that commits what
# it is told of sees the same each time.
COMMITS = ("commit_tables", "publish_set", "commit_dataset", "write_counts")


class Died(BaseException):
    """Ends an attempt in the middle of a change to the file system."""


@contextmanager
def dying(after: int) -> Iterator[None]:
    """Let the process's changes to files fail after some of them, as if it had been killed there."""
    original = os.replace
    left = [after]

    def replace(*paths: Any) -> None:
        if left[0] == 0:
            raise Died
        left[0] -= 1
        original(*paths)

    os.replace = replace  # type: ignore[assignment]
    try:
        yield
    finally:
        os.replace = original


def outcome(call: Callable[..., Any], arguments: tuple, keywords: dict) -> tuple[Any, bool]:
    """Run an attempt to its end; return its outputs, and whether they are several."""
    result = call(*arguments, **keywords)
    if inspect.isgenerator(result) or isinstance(result, Iterator):
        return list(result), True
    return result, False


def shortened(element: Any) -> Any:
    """Return an element of which half is missing, where it has parts."""
    if isinstance(element, tuple) and len(element) == 2 and not isinstance(element[1], (str, bytes, int)):
        key, parts = element
        if isinstance(parts, dict):
            return key, {name: list(values)[: len(list(values)) // 2] for name, values in parts.items()}
        if hasattr(parts, "__iter__"):
            whole = list(parts)
            return key, whole[: len(whole) // 2]
    if isinstance(element, list):
        return element[: len(element) // 2]
    return element


def repeatedly(call: Callable[..., Any], mode: str, arguments: tuple, keywords: dict) -> Any:
    """Make the attempts of a mode, and return the outputs of the one that counts."""
    if mode == "keep the last":
        outcome(call, arguments, keywords)
        return outcome(call, arguments, keywords)[0]
    if mode == "keep the first":
        kept, _ = outcome(call, arguments, keywords)
        outcome(call, arguments, keywords)
        return kept
    if mode == "saw less":
        # A function of a GatherAll gets all elements as a side input.
        position, function = (1, arguments[2]) if call is call_with_all else (0, call)
        if getattr(function, "__name__", "") not in COMMITS:
            seen = list(arguments[1]) if position else arguments[0]
            fewer = (*arguments[:position], shortened(seen), *arguments[position + 1 :])
            with suppress(Exception):  # it may notice that something is missing
                outcome(call, fewer, keywords)
        return outcome(call, arguments, keywords)[0]
    for after in (0, 1, 3):
        with suppress(Died), dying(after):
            outcome(call, arguments, keywords)
    return outcome(call, arguments, keywords)[0]


def repeated(call: Callable[..., Any], mode: str, flat: bool) -> Callable[..., Any]:
    """Return a function that makes several attempts at a call, with the signature of a single one."""

    @functools.wraps(call)
    def attempts(*arguments: Any, **keywords: Any) -> Any:
        result = repeatedly(call, mode, arguments, keywords)
        return [] if result is None and flat else result

    return attempts


class RepeatedDoFn(beam.DoFn):
    """A DoFn of which several attempts are made with each element."""

    def __init__(self, inner: beam.DoFn, mode: str) -> None:
        self.inner, self.mode = inner, mode

    def setup(self) -> None:
        self.inner.setup()

    def teardown(self) -> None:
        self.inner.teardown()

    def process(self, element: Any, *arguments: Any, **keywords: Any) -> Any:
        return repeatedly(self.inner.process, self.mode, (element, *arguments), keywords)


def repeat_everything(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """Wrap every function and DoFn that a job is made of from now on."""
    makers = {name: getattr(beam, name) for name in MAKERS}

    def wrapped(maker: str) -> Callable[..., Any]:
        def make(step: Any, *arguments: Any, **keywords: Any) -> Any:
            if isinstance(step, beam.DoFn):
                return makers[maker](RepeatedDoFn(step, mode), *arguments, **keywords)
            return makers[maker](repeated(step, mode, maker == "FlatMap"), *arguments, **keywords)

        return make

    for maker in makers:
        monkeypatch.setattr(beam, maker, wrapped(maker))
