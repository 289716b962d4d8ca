"""Run the aggregate stage of the small world from the command line, and read its tables."""

import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from pipeline.__main__ import main
from tests.pipeline.small_world import ONE_PROCESS, World


@pytest.fixture
def ingested(built: Path, tmp_path: Path) -> Path:
    """An output folder with the tables of ingest."""
    shutil.copytree(built / "ingest", tmp_path / "out" / "ingest")
    return tmp_path / "out"


def run_aggregate(world: World, output: Path, *settings: str, flags: tuple[str, ...] = (ONE_PROCESS,)) -> int:
    """Run the stage with `settings` of the section `aggregate`; return the exit code."""
    overrides = [part for setting in settings for part in ("--set", f"aggregate.{setting}")]
    return main(["aggregate", "--config", str(world.config), "--output", str(output), *overrides, *flags])


def read_table(folder: Path) -> pa.Table:
    return pa.concat_tables(parquet.read_table(path) for path in sorted(folder.glob("*.parquet")))
