"""Studies that several modules of tests read."""

from pathlib import Path

import pytest

from tests.training.study import drawn_study
from training.study.plot import StudyPlots


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StudyPlots]:
    """The folder of a study, and what was drawn in it."""
    return drawn_study.draw(tmp_path_factory.mktemp("study"))
