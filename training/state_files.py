"""The files in which a run keeps its state: replaced in one rename, set aside when they are damaged."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.atomic_file import write_text
from common.errors import DataError
from common.json_records import to_json

DAMAGED = ".damaged"  # ending of the names of files that were set aside


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
