"""Tasks of the ingest job are groups of buckets: how many there are changes no byte."""

from pathlib import Path

import pytest

from pipeline.jobs import ingest
from tests.pipeline.conftest import build
from tests.pipeline.small_world import World


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_the_number_of_groups_changes_no_byte(
    world: World, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: int
) -> None:
    monkeypatch.setattr(ingest, "GROUPS", groups)
    monkeypatch.setattr(ingest, "ROWS_TOGETHER", 50)
    assert build(world, tmp_path / "out", "--set=noise.levels=[0.2]") == 0
    for table in ("images", "retrievals", "rejections"):
        expected, found = built / "ingest" / table, tmp_path / "out" / "ingest" / table
        assert {p.name: p.read_bytes() for p in found.iterdir()} == {
            p.name: p.read_bytes() for p in expected.iterdir()
        }
