import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import remote


@pytest.fixture
def dataset(built: Path, tmp_path: Path) -> Path:
    """A copy of the dataset that a test may damage."""
    return Path(shutil.copytree(built / "dataset", tmp_path / "dataset"))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """fsspec's file system in memory. Like a bucket it is listed by prefix; it has no checksums."""
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setitem(remote.EXTRAS, "memory", "")
    yield "memory://bucket"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
