"""The tasks of the ingest job are parts of lists and groups of buckets; their number changes no byte."""

from pathlib import Path

import pytest

from pipeline import file_parts
from pipeline.__main__ import main
from pipeline.jobs import ingest
from tests.pipeline.small_world import ONE_PROCESS, World


def check_tables(world: World, built: Path, output: Path) -> None:
    """Run ingest and compare its tables with those of `built`."""
    assert main(["ingest", "--config", str(world.config), "--output", str(output), ONE_PROCESS]) == 0
    for table in ("images", "retrievals", "rejections"):
        expected, actual = built / "ingest" / table, output / "ingest" / table
        assert {p.name: p.read_bytes() for p in actual.iterdir()} == {
            p.name: p.read_bytes() for p in expected.iterdir()
        }


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_the_number_of_groups_changes_no_byte(
    world: World, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: int
) -> None:
    monkeypatch.setattr(ingest, "GROUPS", groups)
    monkeypatch.setattr(ingest, "ROWS_TOGETHER", 50)
    check_tables(world, built, tmp_path / "out")


@pytest.mark.parametrize("part_bytes", [1, 1000])
def test_the_number_of_list_parts_changes_no_byte(
    world: World, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part_bytes: int
) -> None:
    monkeypatch.setattr(file_parts, "PART_BYTES", part_bytes)
    check_tables(world, built, tmp_path / "out")
