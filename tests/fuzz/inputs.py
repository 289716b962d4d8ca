"""What the targets share: a temporary folder, numbers and texts taken from the input, and the form of a rejection."""

import tempfile
from collections.abc import Collection
from functools import cache
from pathlib import Path

from pipeline.rejections import Rejected
from schemas.rejection import CODES

SEPARATOR = b"\n====\n"
"""Separates the files of an input that stands for several."""


@cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="fuzz-")


def folder(name: str) -> Path:
    """Return a temporary folder, which is created once per process."""
    path = Path(_folder().name) / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def written(name: str, data: bytes) -> str:
    """Write a file to the temporary folder, and return its path."""
    path = Path(_folder().name) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


def choice(data: bytes, count: int) -> tuple[int, bytes]:
    """Return a number from 0 to `count` - 1, given by the first byte, and the bytes after it."""
    return (data[0] % count if data else 0), data[1:]


def parts(data: bytes, count: int) -> list[bytes]:
    """Split an input at SEPARATOR into exactly `count` files; those that are not given are empty."""
    found = data.split(SEPARATOR, count - 1)
    return found + [b""] * (count - len(found))


def check_rejection(rejected: Rejected, codes: Collection[str] = CODES.keys()) -> None:
    """Check that a rejection has one of the codes and a detail that fits on one line."""
    assert rejected.code in codes
    assert rejected.detail.isprintable()


def check_error(error: Exception, path: str) -> None:
    """Check that an error for users names the file."""
    assert path in str(error), str(error)
