"""Fill a new folder so that the same command can be repeated after it was killed."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.atomic_file import TEMPORARY_PREFIX, write_text
from common.errors import UsageError
from common.locks import locked_folder

UNFINISHED = ".unfinished.json"


@contextmanager
def new_folder(folder: str | os.PathLike[str], content: Mapping[str, Any]) -> Iterator[None]:
    """Create a folder, or take an empty one, and fill it during the block.

    Until the block has ended without an exception, the file UNFINISHED in the folder has `content`, JSON values that say what
    the folder will hold. A folder with the same content is filled again. Raises UsageError if the folder holds anything else,
    cannot be created, or is being filled by another process.
    """
    path = Path(folder)
    is_new = not path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{folder}: cannot create the folder ({error.strerror}); choose another --output"
        ) from error
    with locked_folder(path, "command", "--output"):
        marker, text = path / UNFINISHED, json.dumps(content, sort_keys=True)
        if _names(path) and not (marker.is_file() and marker.read_bytes() == text.encode()):
            raise UsageError(f"{folder}: the folder is not empty; empty it, or choose another --output")
        for abandoned in [*path.rglob(f"{TEMPORARY_PREFIX}*")]:
            abandoned.unlink()
        write_text(marker, text)
        try:
            yield
        finally:
            if _names(path) == {UNFINISHED}:  # nothing to continue with
                marker.unlink()
                if is_new:
                    path.rmdir()
        marker.unlink(missing_ok=True)


def _names(path: Path) -> set[str]:
    """Return the names in a folder, without temporary files of killed commands."""
    return {name for name in os.listdir(path) if not name.startswith(TEMPORARY_PREFIX)}
