"""A file that crashes its decoder, and with it the process, becomes a rejection; nothing else is lost."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.poison import POISON, write_poisoned_world
from tests.pipeline.small_world import World
from tests.pipeline.test_build import digests, read


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> World:
    return write_poisoned_world(tmp_path_factory.mktemp("poisoned") / "world")


def ingest(world: World, output: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = ["ingest", "--config", str(world.config), "--output", str(output), *more]
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *command], env={**os.environ, "PYTHONPATH": str(world.folder)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_crashes_cost_their_rows_and_no_others_wherever_they_happen(poisoned: World, tmp_path: Path) -> None:
    here, processes = tmp_path / "here", tmp_path / "processes"
    assert ingest(poisoned, here, "--direct_num_workers=1").returncode == -signal.SIGSEGV
    assert ingest(poisoned, here, "--direct_num_workers=1").returncode == 0
    rejected = {row["image_id"]: row for row in read(here / "ingest" / "rejections").to_pylist()}
    assert {name: row["code"] for name, row in rejected.items()} == dict.fromkeys(POISON, "decoder_crashed")
    assert "SIGSEGV" in rejected[POISON[0]]["detail"]
    assert json.loads((here / "ingest/images/_manifest.json").read_text())["rows"] == 213 - len(POISON)
    assert not (here / "ingest" / "begun").exists()

    done = ingest(poisoned, processes, "--direct_num_workers=2")
    assert done.returncode == 0, done.stderr
    assert "a worker process ended by SIGSEGV" in done.stderr
    assert digests(processes) == digests(here)
