"""The state of each run of a study, as its folder holds it: result, checkpoint, lock and failure.

Commands on one machine share a study folder through one lock per run. The operating system releases a lock when its
process ends, however it ends, so a killed run can be resumed at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from common import locks
from common.errors import DataError, UsageError
from common.json_records import parse_stored
from training import checkpoint
from training.run_directory import read_result
from training.state_files import write_json

FINISHED, RUNNING, STOPPED, FAILED, WAITING = "finished", "running", "stopped", "failed", "waiting"
STATES = (FINISHED, RUNNING, STOPPED, FAILED, WAITING)


@dataclass(frozen=True, kw_only=True)
class RunFailure:
    """Content of `failures/RUN.json`: why the last attempt at a run failed."""

    error: str
    traceback: str = ""


def run_folder(output: Path, name: str) -> Path:
    """Return the folder in which a run is trained and stays."""
    return output / "runs" / name


def is_finished(output: Path, name: str) -> bool:
    """Return whether a run has a readable result; a run with a damaged one is resumed, which writes it again."""
    return read_result(run_folder(output, name)) is not None


@contextmanager
def try_lock(output: Path, name: str) -> Iterator[bool]:
    """Lock a run during the block, without waiting; yield False if another process holds the lock."""
    path = _lock_file(output, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with locks.try_lock(path) as locked:
        yield locked


def is_locked(output: Path, name: str) -> bool:
    """Return whether a process of this machine trains the run now."""
    if not _lock_file(output, name).exists():
        return False
    with try_lock(output, name) as locked:
        return not locked


def read_state(output: Path, name: str) -> str:
    """Return one of STATES: `stopped` is a run with a checkpoint that no process trains."""
    if is_finished(output, name):
        return FINISHED
    if is_locked(output, name):
        return RUNNING
    if read_failure(output, name) is not None:
        return FAILED
    return STOPPED if checkpoint.newest(run_folder(output, name)) else WAITING


def record_failure(output: Path, name: str, error: str, traceback: str = "") -> None:
    """Record why a run failed, for the result table and for the next command."""
    path = _failure_file(output, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"error": error, "traceback": traceback})


def clear_failure(output: Path, name: str) -> None:
    """Remove the record of an earlier failure of a run that has finished."""
    _failure_file(output, name).unlink(missing_ok=True)


def read_failure(output: Path, name: str) -> str | None:
    """Return why the last attempt at a run failed; None if it did not."""
    path = _failure_file(output, name)
    with suppress(FileNotFoundError):
        try:
            return parse_stored(RunFailure, path.read_bytes(), str(path), "run the study again").error
        except DataError as error:
            return str(error)
    return None


def failure_time(output: Path, name: str) -> int | None:
    """Return when the last failure of a run was recorded, in nanoseconds; None if there is none."""
    with suppress(FileNotFoundError):
        return _failure_file(output, name).stat().st_mtime_ns
    return None


def reject_old_layout(output: Path) -> None:
    """Raise UsageError if the folder holds unfinished runs of version 0.1, which kept them in `claims/`."""
    if (output / "claims").is_dir():
        raise UsageError(
            f"{output / 'claims'}: unfinished runs of version 0.1, which this version cannot resume; end the commands "
            "that still use the folder, then delete claims/: finished runs in runs/ are kept, the others start again"
        )


def _lock_file(output: Path, name: str) -> Path:
    return output / "locks" / f"{name}.lock"


def _failure_file(output: Path, name: str) -> Path:
    return output / "failures" / f"{name}.json"
