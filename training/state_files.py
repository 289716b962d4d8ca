"""Replace the state files of a run atomically, and set damaged ones aside."""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.errors import DataError
from common.json_records import to_json

DAMAGED = ".damaged"  # suffix of files that were set aside


@contextmanager
def replace(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file that is then renamed to `path`, or removed after an exception.

    The bytes are flushed to disk before the rename, so a power failure leaves the old file or the new one, complete.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno is None or error.filename:
            raise
        raise OSError(
            error.errno, os.strerror(error.errno), str(path)
        ) from error  # with the name of the file
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with replace(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON atomically. Raises ValueError for NaN and infinity."""
    write_text(path, to_json(content, indent=1) + "\n")


def set_aside(path: Path, error: DataError, consequence: str) -> None:
    """Add ".damaged" to the name of a file or folder, and print why, and the consequence, on standard error.

    A folder that was set aside under that name before is removed.
    """
    target = path.with_name(path.name + DAMAGED)
    if target.is_dir():
        shutil.rmtree(target)
    os.replace(path, target)
    problem, _, _ = str(error).partition("; ")  # without the remedy, which is carried out here
    print(f"{problem}; renamed to {path.name}{DAMAGED}, and {consequence}", file=sys.stderr)
