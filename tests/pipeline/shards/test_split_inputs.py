"""The tables of a build are read in parts: their number changes no byte of a dataset."""

import shutil
from pathlib import Path

import pytest

from pipeline.__main__ import main
from pipeline.config import load_config
from pipeline.jobs.split import tables_of
from pipeline.shards import split_inputs
from tests.pipeline.built_tables import digests
from tests.pipeline.small_world import ONE_PROCESS, World


def split(world: World, built: Path, output: Path, *flags: str) -> dict[str, str]:
    """Run the split stage on the tables of another build; return the digests of the dataset."""
    shutil.copytree(built, output, ignore=shutil.ignore_patterns("dataset", "split"))
    command = ["split", "--config", str(world.config), "--output", str(output), ONE_PROCESS, *flags]
    assert main(command) == 0
    return digests(output / "dataset")


@pytest.mark.parametrize(
    "flags",
    [
        ("--set", "shards.max_rows=1"),
        ("--set", "shards.max_rows=1000"),
        ("--set", "shards.mode=shared"),
        ("--set", "noise.nested=false", "--set", "noise.trials=2"),
    ],
)
def test_the_number_of_parts_changes_no_byte(
    world: World, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    expected = split(world, built, tmp_path / "one", *flags)
    monkeypatch.setattr(split_inputs, "ROWS_TOGETHER", 40)
    config = load_config(str(world.config), [])
    inputs = split_inputs.SplitInputs(tables_of(config, str(built)), config.classes, 0.0, 1)
    assert inputs.parts > 1
    assert split(world, built, tmp_path / "many", *flags) == expected
