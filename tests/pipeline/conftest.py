import shutil
from pathlib import Path

import pytest

from pipeline.__main__ import main
from tests.pipeline.small_world import World, write_world

ONE_PROCESS = "--direct_num_workers=1"


def build(world: World, output: Path, *more: str) -> int:
    return main(["build", "--config", str(world.config), "--output", str(output), ONE_PROCESS, *more])


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return write_world(tmp_path_factory.mktemp("world") / "set")


@pytest.fixture(scope="session")
def built(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished build of the small world; tests must not change it."""
    output = tmp_path_factory.mktemp("built") / "out"
    assert build(world, output) == 0
    return output


@pytest.fixture
def dataset(built: Path, tmp_path: Path) -> Path:
    """A copy of the dataset that a test may damage."""
    return Path(shutil.copytree(built / "dataset", tmp_path / "dataset"))
