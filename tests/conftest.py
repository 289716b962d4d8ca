"""What all tests share: properties without a deadline, since a busy machine is no fault of the code, and one small build."""

import atexit
import os
from pathlib import Path

import pytest

from tests.pipeline.small_world import World, build, write_world

try:
    from hypothesis import HealthCheck, settings
except ModuleNotFoundError:  # the environment of tests/engines has none
    pass
else:
    settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("untimed")


@atexit.register
def discard_exit_messages() -> None:
    """Discard standard error at exit: nanobind would list objects that were not freed, in processes that used DuckDB and torch."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The small set; tests must not change it."""
    return write_world(tmp_path_factory.mktemp("world") / "set")


@pytest.fixture(scope="session")
def built(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished build of the small set by the local runner, in one process; tests must not change it."""
    output = tmp_path_factory.mktemp("built") / "out"
    assert build(world, output) == 0
    return output
