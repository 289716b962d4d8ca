"""Where the metrics of a run go besides its own files: TensorBoard, or whatever an installed package offers.

A package offers a logger by an entry point in the group `controlled_noise.loggers`; its name is that of `--logger`.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

from common.errors import UsageError
from training.tensorboard import TensorBoard

GROUP = "controlled_noise.loggers"


class Logger(Protocol):
    """What follows a run; its constructor gets the run's folder and description (the content of config.json)."""

    def log(self, row: Mapping[str, Any], /) -> None:
        """Take in the metrics of an epoch, a line of metrics.jsonl; `row["step"]` and `row["epoch"]` say when."""

    def finish(self, result: Mapping[str, Any] | None, /) -> None:
        """End: with the content of result.json, or None if the run was stopped or has failed."""


MakeLogger = Callable[[Path, Mapping[str, Any]], Logger]


def find_logger(name: str) -> MakeLogger:
    """Return the constructor of a logger by its name. Raises UsageError if nobody offers it, or it cannot be loaded."""
    if name == "tensorboard":
        return TensorBoard
    offered = {one.name: one for one in entry_points(group=GROUP)}
    if name not in offered:
        known = ", ".join(["tensorboard", *sorted(offered)])
        raise UsageError(f"--logger {name}: no installed package offers it; known: {known}")
    try:
        make: MakeLogger = offered[name].load()
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"--logger {name}: {offered[name].value} cannot be loaded ({error}); repair its package"
        ) from error
    return make


class Loggers:
    """Several loggers of one run. Each is made with the first epoch's metrics: only then is the run sure to begin."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        """Raises UsageError for a name that nobody offers."""
        self._make = [find_logger(name) for name in dict.fromkeys(names)]
        self._loggers: list[Logger] | None = None

    def log(self, directory: Path, description: Mapping[str, Any], row: Mapping[str, Any]) -> None:
        """Hand on the metrics of an epoch of the run in `directory`."""
        if self._loggers is None:
            self._loggers = [make(directory, description) for make in self._make]
        for logger in self._loggers:
            logger.log(row)

    def finish(self, result: Mapping[str, Any] | None) -> None:
        """Hand on the end: the run's result, or None if it was stopped or has failed."""
        for logger in self._loggers or []:
            logger.finish(result)
        self._loggers = None
