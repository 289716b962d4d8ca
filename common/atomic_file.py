"""Atomic replacement of local files: readers see the old file or the new one, never a part."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY_PREFIX = ".writing-"


def temporary_path(path: str | os.PathLike[str]) -> Path:
    """Return a new path for a temporary file in the folder of `path`."""
    target = Path(path).absolute()
    return target.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}-{target.name}")


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the path of a temporary file that replaces `path` at the end of the block; an exception removes it.

    The bytes are on disk before the rename: after a power failure the name leads to the old file or the new one.
    """
    temporary = temporary_path(path)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno is None or error.filename:
            raise
        raise OSError(error.errno, os.strerror(error.errno), os.fspath(path)) from error  # name the file
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace a file by `data`."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Replace a file by UTF-8 text."""
    write_bytes(path, text.encode())
