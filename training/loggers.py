"""Loggers of training runs: TensorBoard, and those that installed packages provide.

A package provides a logger `--logger NAME` by an entry point NAME in the group `controlled_noise.loggers`.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

from common.errors import UsageError
from training.tensorboard import TensorBoard, check_installed

GROUP = "controlled_noise.loggers"


class Logger(Protocol):
    """Interface of a logger; its constructor gets the folder of the run and the content of its config.json."""

    def log(self, row: Mapping[str, Any], /) -> None:
        """Log the metrics of an epoch: one line of metrics.jsonl, with the keys `step` and `epoch`."""

    def finish(self, result: Mapping[str, Any] | None, /) -> None:
        """Finish with the content of result.json, or None if the run was stopped or has failed."""


MakeLogger = Callable[[Path, Mapping[str, Any]], Logger]


def find_logger(name: str) -> MakeLogger:
    """Return the constructor of a logger. Raises UsageError if no package provides it, or if it cannot be loaded."""
    if name == "tensorboard":
        check_installed()
        return TensorBoard
    provided = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in provided:
        known = ", ".join(["tensorboard", *sorted(provided)])
        raise UsageError(f"--logger {name}: no installed package provides this logger; available: {known}")
    try:
        make: MakeLogger = provided[name].load()
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"--logger {name}: {provided[name].value} cannot be imported ({error}); reinstall its package"
        ) from error
    return make


class Loggers:
    """The loggers of one run, which are constructed when the first epoch has metrics."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        """Raises UsageError as `find_logger` does."""
        self._constructors = [find_logger(name) for name in dict.fromkeys(names)]
        self._loggers: list[Logger] | None = None

    def log(self, directory: Path, description: Mapping[str, Any], row: Mapping[str, Any]) -> None:
        """Log the metrics of an epoch of the run in `directory`."""
        if self._loggers is None:
            self._loggers = [make(directory, description) for make in self._constructors]
        for logger in self._loggers:
            logger.log(row)

    def finish(self, result: Mapping[str, Any] | None) -> None:
        """Finish with the result of the run, or None if it was stopped or has failed."""
        for logger in self._loggers or []:
            logger.finish(result)
        self._loggers = None
