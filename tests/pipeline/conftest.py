import shutil
from pathlib import Path

import pytest


@pytest.fixture
def dataset(built: Path, tmp_path: Path) -> Path:
    """A copy of the dataset that a test may damage."""
    return Path(shutil.copytree(built / "dataset", tmp_path / "dataset"))
