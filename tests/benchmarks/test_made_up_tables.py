"""The tables of earlier stages that benchmarks make up are such as the split stage reads."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import scale, split
from pipeline.__main__ import main


def of_split(folder: Path) -> Path:
    split.write_tables(folder, clean=400, wrong=300, test=100)
    return folder


def of_scale(folder: Path) -> Path:
    scale.sets(folder, 6000)
    return folder / "out"


@pytest.mark.parametrize("write", [of_split, of_scale])
def test_split_reads_made_up_tables(write: Callable[[Path], Path], tmp_path: Path) -> None:
    output = write(tmp_path)
    arguments = ["--config", str(tmp_path / "build.yaml"), "--output", str(output), "--direct_num_workers=1"]
    one_set = ["--set", "noise.levels=[0.4]", "--set", "noise.colors=[red]"]
    assert main(["split", *arguments, *one_set]) == 0
