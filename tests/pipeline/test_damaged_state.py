"""Every JSON file of a build may be damaged: a build makes it again, or names the file with a remedy that works."""

import itertools
import re
import shutil
from pathlib import Path

import pytest

from pipeline.__main__ import main
from tests.pipeline.small_world import ONE_PROCESS, World, build

DAMAGES = [b"", b"{", b"[]", b"7", b"null", b'{"a": NaN}', b"\xff\xfe", b"\0" * 50]


@pytest.mark.parametrize("first", [0, 3, 6])
def test_a_build_survives_damage_to_any_of_its_json_files(
    world: World, built: Path, tmp_path: Path, first: int, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = {path.relative_to(built): path.read_bytes() for path in built.rglob("*.parquet")}
    names = sorted(path.relative_to(built) for path in built.rglob("*.json"))
    assert len(names) > 10
    output = Path(shutil.copytree(built, tmp_path / "out"))
    for name, damage in zip(names, itertools.islice(itertools.cycle(DAMAGES), first, None), strict=False):
        (output / name).write_bytes(damage)
    assert build(world, output) == 0, capsys.readouterr().err
    assert {path.relative_to(output): path.read_bytes() for path in output.rglob("*.parquet")} == whole
    assert main(["verify", str(output / "dataset")]) == 0


def test_split_does_not_drop_the_noise_estimates_of_a_damaged_error_model(
    world: World, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = Path(shutil.copytree(built, tmp_path / "out"))
    manifest = output / "aggregate" / "error_model" / "_manifest.json"
    manifest.write_text("{")
    command = ["split", "--config", str(world.config), "--output", str(output), ONE_PROCESS, "--force"]
    assert main(command) == 1
    assert f"{manifest}: not a manifest" in capsys.readouterr().err


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_metrics_are_named_and_the_remedy_works(
    built: Path, tmp_path: Path, damage: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    output = Path(shutil.copytree(built, tmp_path / "out"))
    path = next((output / "metrics").glob("*.json"))
    path.write_bytes(damage)
    assert main(["report", str(output)]) == 1
    assert re.search(rf"{path}: .*; (delete the file|save the file as UTF-8)", capsys.readouterr().err)
    path.unlink()
    assert main(["report", str(output)]) == 0
