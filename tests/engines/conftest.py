"""Tests with engines outside the development environment: run by `make test-engines`."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engines.emulators import emulator  # noqa: F401  a fixture

ROOT = Path(__file__).parents[2]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the pipeline as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip


def digests(dataset: Path) -> dict[str, str]:
    """sha256 of all shards and manifests of a dataset."""
    return {
        str(path.relative_to(dataset)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in dataset.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="session")
def local(built: Path) -> Path:
    """What the local runner builds, in one process."""
    return built
