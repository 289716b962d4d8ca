"""A build replaces its tables and keeps its hands off everything else."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from common.atomic_file import TEMPORARY_PREFIX
from common.errors import DataError
from pipeline.__main__ import main
from pipeline.jobs.tables import Written, check_libraries
from pipeline.running import stage
from pipeline.running.job_record import JobRecord
from schemas.manifest import MANIFEST, Manifest
from tests.pipeline.small_world import World, build

FOLDERS = (
    "dataset/test",
    "dataset/red-0.20",
    "dataset",
    "ingest/images",
    "aggregate/workers",
    "split/examples",
)


@pytest.fixture
def output(built: Path, tmp_path: Path) -> Path:
    """A copy of a build that a test may change."""
    return Path(shutil.copytree(built, tmp_path / "out"))


def contents(folder: Path) -> dict[Path, bytes]:
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] != "metrics"
    }


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_with_files_of_the_user_is_refused_and_left_as_it_is(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: str
) -> None:
    photos = tmp_path / "mine" / folder
    photos.mkdir(parents=True)
    for number in range(3):
        (photos / f"photo {number}.png").write_bytes(b"mine")
    (photos / "cats").mkdir()
    (photos / "cats" / "cat.png").write_bytes(b"mine")
    before = contents(tmp_path / "mine")
    assert build(world, tmp_path / "mine") == 1
    assert (
        "which no build has written; move it elsewhere, or choose another --output" in capsys.readouterr().err
    )
    assert {
        path: data for path, data in contents(tmp_path / "mine").items() if path != Path(".lock")
    } == before


def test_a_file_of_the_user_beside_the_shards_stops_a_build_before_it_changes_anything(
    world: World, output: Path
) -> None:
    (output / "dataset" / "red-0.20" / "notes.txt").write_text("mine")
    before = contents(output)
    assert build(world, output, "--set=seed=5") == 1
    assert contents(output) == before


def test_sets_that_are_dropped_are_named_and_vanish_when_the_new_dataset_is_there(
    world: World, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(world, output, "--set=noise.levels=[0.2]") == 0
    assert (
        "removed sets that are no longer in the configuration: blue-0.00, blue-0.50"
        in capsys.readouterr().out
    )
    assert not list((output / "dataset").glob("*-0.50"))
    assert main(["verify", str(output / "dataset")]) == 0


def test_a_stage_that_fails_leaves_the_tables_before_it(world: World, output: Path) -> None:
    before = contents(output / "dataset")
    assert build(world, output, "--set=aggregate.min_votes=5") == 1  # no wrong images
    assert contents(output / "dataset") == before
    assert main(["verify", str(output / "dataset")]) == 0


@pytest.mark.parametrize("damage", ["zeros", "cut", "gone", "manifest"])
def test_a_damaged_table_is_made_again_without_force(world: World, output: Path, damage: str) -> None:
    before = contents(output)
    for folder in ("dataset/red-0.20", "ingest/images", "aggregate/verdicts", "dedupe/duplicates"):
        shard = sorted((output / folder).glob("*.parquet"))[0]
        if damage == "zeros":
            shard.write_bytes(bytes(shard.stat().st_size))
        elif damage == "cut":
            shard.write_bytes(shard.read_bytes()[:-1])
        elif damage == "gone":
            shard.unlink()
        else:
            (output / folder / MANIFEST).write_text("")
    assert build(world, output) == 0
    after = contents(output)
    assert {path: after[path] for path in before if path.suffix == ".parquet"} == {
        path: before[path] for path in before if path.suffix == ".parquet"
    }


def test_a_shard_of_verdicts_that_was_rewritten_is_not_used(
    world: World, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Turn yes into no in a shard of the same size, and ask for other sets."""
    folder = output / "aggregate" / "verdicts"
    manifest = Manifest.from_json((folder / MANIFEST).read_text(), "verdicts")
    (path,) = [folder / shard.file for shard in manifest.shards][:1]
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    assert build(world, output, "--set=noise.levels=[0.2]") == 1
    printed = capsys.readouterr().err
    assert path.name in printed
    assert "bytes differ from those that were written" in printed


def test_other_versions_of_libraries_make_the_tables_anew(
    world: World, output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(world, output) == 0
    assert "split     up to date" in capsys.readouterr().out
    monkeypatch.setattr(stage, "LIBRARIES", ("numpy", "pandas", "pillow", "pyarrow", "simplejpeg", "pytest"))
    stage.library_versions.cache_clear()
    try:
        assert build(world, output) == 0
    finally:
        stage.library_versions.cache_clear()
    assert "up to date" not in capsys.readouterr().out


def test_workers_with_other_libraries_are_refused() -> None:
    here = stage.library_versions()
    check_libraries(Written(None, Counter()), {"libraries": here})
    with pytest.raises(
        DataError, match=r"a worker has pyarrow .*, and the job was submitted with pyarrow 0\.1"
    ):
        check_libraries(Written(None, Counter()), {"libraries": here | {"pyarrow": "0.1"}})


def test_what_interrupted_builds_have_left_goes_with_the_next_one(world: World, output: Path) -> None:
    """Sets without a manifest, as a killed first build leaves them, are no files of the user."""
    red = output / "dataset" / "red-0.20"
    leftover = output / "dataset" / "red-0.99"
    (leftover / "_staged").mkdir(parents=True)
    shard = next(red.glob("*.parquet"))
    shutil.copy(shard, leftover / shard.name)
    shutil.copy(shard, leftover / "_staged" / f"{'0' * 32}.parquet")
    half = output / "dataset" / f"{TEMPORARY_PREFIX}0123456789abcdef-README.md"
    half.write_text("half a")
    (red / MANIFEST).unlink()
    (output / "dataset" / MANIFEST).unlink()
    assert build(world, output) == 0
    assert not leftover.exists()
    assert not half.exists()
    half.write_text("half a")
    assert build(world, output) == 0
    assert not half.exists()
    assert main(["verify", str(output / "dataset")]) == 0


def test_old_shards_of_tables_that_are_up_to_date_go_unless_a_job_may_be_writing_them(
    world: World, output: Path
) -> None:
    """As a stage leaves them that was killed after it replaced its manifests."""
    shard = next((output / "dedupe" / "duplicates").glob("*.parquet"))
    leftovers = [
        output / folder / shard.name
        for folder in ("ingest/images", "aggregate/verdicts", "split/examples", "dataset/red-0.20")
    ]
    for path in leftovers:
        shutil.copy(shard, path)
    record = JobRecord("split", "key", "id-1", "p", "r", "https://x", "https://console", "SUBMITTED")
    record.write(str(output))
    assert build(world, output) == 0
    assert all(path.exists() for path in leftovers)
    record.write(str(output), "DONE")
    assert build(world, output) == 0
    assert not any(path.exists() for path in leftovers)
    assert shard.exists()
