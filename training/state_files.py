"""Replace the state files of a run atomically, and set damaged ones aside."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.atomic_file import write_text
from common.errors import DataError
from common.json_records import to_json
from common.terminal import visible_lines

DAMAGED = ".damaged"  # suffix of files that were set aside


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
    print(visible_lines(f"{problem}; renamed to {path.name}{DAMAGED}, and {consequence}"), file=sys.stderr)
