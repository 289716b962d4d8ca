"""A file that crashes its decoding process is rejected; all other images are kept."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.built_tables import read
from tests.pipeline.poison import POISON, write_poisoned_world
from tests.pipeline.small_world import World


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> World:
    return write_poisoned_world(tmp_path_factory.mktemp("poisoned") / "world")


def ingest(world: World, output: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = ["ingest", "--config", str(world.config), "--output", str(output), *more]
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *command], env={**os.environ, "PYTHONPATH": str(world.folder)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("workers", [1, 2])
def test_crashes_reject_only_their_own_rows(poisoned: World, tmp_path: Path, workers: int) -> None:
    output = tmp_path / "out"
    done = ingest(poisoned, output, f"--direct_num_workers={workers}")
    assert done.returncode == 0, done.stderr
    rejected = {row["image_id"]: row for row in read(output / "ingest" / "rejections").to_pylist()}
    assert {name: row["code"] for name, row in rejected.items()} == dict.fromkeys(POISON, "decoder_crashed")
    assert "SIGSEGV" in rejected[POISON[0]]["detail"]
    assert json.loads((output / "ingest/images/_manifest.json").read_text())["rows"] == 213 - len(POISON)
    assert not [path for path in output.rglob("*") if path.name.startswith(("begun", ".writing"))]
