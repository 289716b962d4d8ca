"""The files in which a run keeps its state: replaced in one rename, set aside when they are damaged."""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.errors import DataError
from common.json_records import to_json

DAMAGED = ".damaged"  # ending of the names of files that were set aside


@contextmanager
def replace(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file, which becomes `path` in one rename; after an exception it is removed.

    The bytes are on the disk before the rename: a power failure leaves the old file or the new one, whole.
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
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error  # names the file
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file in one rename."""
    with replace(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON in one rename. Raises ValueError for NaN and infinity."""
    write_text(path, to_json(content, indent=1) + "\n")


def set_aside(path: Path, error: DataError, instead: str) -> None:
    """Rename a damaged file or folder, so that it is kept and no longer read, and print so on standard error.

    An earlier one that was set aside under the same name is removed.
    """
    target = path.with_name(path.name + DAMAGED)
    if target.is_dir():
        shutil.rmtree(target)
    os.replace(path, target)
    problem, _, _ = str(error).partition("; ")  # without the remedy, which is carried out here
    print(f"{problem}; {path.name} is now {path.name}{DAMAGED}, and {instead}", file=sys.stderr)
