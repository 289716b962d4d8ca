"""The tables of a study that was trained in several folders or shards, after some of its runs were trained again."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from common.errors import DataError
from training.study.results import CURVE, RESULT, merge_into, read, write
from training.study.shard import ShardOfRuns

Accuracies = Mapping[str, float | None]


def trained(folder: Path, accuracies: Accuracies, shard: str = "", *, epochs: int = 2) -> None:
    """Write the tables of runs with these accuracies, by method and seed; None is a missing run."""
    rows: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    for run, accuracy in accuracies.items():
        method, seed = run.split()
        status = "missing" if accuracy is None else "finished"
        rows.append(
            {"color": "red", "noise_level": 0.4, "method": method, "network": "small_cnn", "setting": "scratch",
             "seed": int(seed), "run": run, "status": status, "final_accuracy": accuracy, "best_accuracy": accuracy}
        )  # fmt: skip
        for epoch in range(1, epochs + 1) if accuracy is not None else ():
            curves.append({"run": run, "epoch": epoch, "step": epoch, "test_accuracy": accuracy})
    folder.mkdir(exist_ok=True)
    number, _, count = shard.partition("/")
    part = ShardOfRuns(int(number), int(count)) if shard else None
    write((RESULT.from_rows(rows), CURVE.from_rows(curves)), folder, part)


def shown(output: Path, *folders: Path) -> Accuracies:
    """Merge, check that curves and the written tables agree with the results, and return the accuracies."""
    results, curves = merge_into(output, folders)
    assert read(output) == results
    assert read(output, schema=CURVE) == curves
    accuracies = dict(zip(results["run"].to_pylist(), results["final_accuracy"].to_pylist(), strict=True))
    of_curves = set(zip(curves["run"].to_pylist(), curves["test_accuracy"].to_pylist(), strict=True))
    assert of_curves == {(run, accuracy) for run, accuracy in accuracies.items() if accuracy is not None}
    return accuracies


def test_a_run_that_a_shard_trains_again_replaces_its_merged_copy(tmp_path: Path) -> None:
    study = tmp_path / "study"
    trained(study, {"vanilla 0": 0.5, "vanilla 1": 0.5}, "1/2")
    trained(study, {"mixup 0": 0.3, "mixup 1": 0.3}, "2/2")
    assert shown(study, study) == {"vanilla 0": 0.5, "vanilla 1": 0.5, "mixup 0": 0.3, "mixup 1": 0.3}
    trained(study, {"mixup 0": 0.7, "mixup 1": None}, "2/2", epochs=1)  # both were deleted
    assert shown(study, study) == {"vanilla 0": 0.5, "vanilla 1": 0.5, "mixup 0": 0.7, "mixup 1": None}


@pytest.mark.parametrize("shard", ["", "1/1"])
def test_a_run_that_another_folder_trains_again_replaces_its_merged_copy(tmp_path: Path, shard: str) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    trained(first, {"vanilla 0": 0.5}, shard)
    trained(second, {"mixup 0": 0.3, "mixup 1": 0.4}, shard)
    assert shown(first, first, second) == {"vanilla 0": 0.5, "mixup 0": 0.3, "mixup 1": 0.4}
    trained(second, {"mixup 0": 0.7, "mixup 1": None}, shard)
    assert shown(first, first, second) == {"vanilla 0": 0.5, "mixup 0": 0.7, "mixup 1": None}


def test_copies_from_a_folder_that_is_gone_are_kept(tmp_path: Path) -> None:
    """Also where the other folder plans the same run and has not trained it, and after both have been moved."""
    first, second = tmp_path / "a", tmp_path / "b"
    trained(first, {"vanilla 0": 0.5, "mixup 0": None}, "1/1")
    trained(second, {"mixup 0": 0.3, "mixup 1": 0.4})
    merged = {"vanilla 0": 0.5, "mixup 0": 0.3, "mixup 1": 0.4}
    assert shown(first, first, second) == merged
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.move(first, moved)
    shutil.move(second, moved)
    trained(moved / "b", {"mixup 0": 0.6, "mixup 1": 0.6})
    assert shown(moved / "a", moved / "a", moved / "b") == {**merged, "mixup 0": 0.6, "mixup 1": 0.6}
    shutil.rmtree(moved / "b")
    for _ in range(2):
        assert shown(moved / "a", moved / "a") == {**merged, "mixup 0": 0.6, "mixup 1": 0.6}


def test_cells_that_no_table_of_a_shard_has_keep_their_rows(tmp_path: Path) -> None:
    """The merged table has taken the place of the table of all cells."""
    first, second = tmp_path / "a", tmp_path / "b"
    trained(first, {"vanilla 0": 0.5, "vanilla 1": 0.5})
    trained(second, {"mixup 0": 0.3})
    shown(first, first, second)
    trained(first, {"vanilla 1": 0.6, "vanilla 2": 0.6}, "1/2")
    expected = {"vanilla 0": 0.5, "vanilla 1": 0.6, "vanilla 2": 0.6, "mixup 0": 0.3}
    assert shown(first, first, second) == expected


@pytest.mark.parametrize("counts", [(2, 4), (4, 2)])
def test_the_newest_of_shards_of_different_counts_counts(tmp_path: Path, counts: tuple[int, int]) -> None:
    for age, count in enumerate(counts):
        trained(tmp_path, {"vanilla 0": 0.5 + age / 10}, f"1/{count}")
        for path in tmp_path.glob(f"*-of-{count}.parquet"):
            os.utime(path, ns=(age, age))
    assert shown(tmp_path, tmp_path) == {"vanilla 0": 0.6}


def test_a_finished_run_of_any_folder_counts(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    trained(first, {"vanilla 0": None, "vanilla 1": 0.5})
    trained(second, {"vanilla 0": 0.6, "vanilla 1": 0.6})
    assert shown(tmp_path / "out", first, second) == {"vanilla 0": 0.6, "vanilla 1": 0.5}
    assert shown(tmp_path / "out", second, first) == {"vanilla 0": 0.6, "vanilla 1": 0.6}


def test_missing_curves_and_damaged_metadata_are_errors(tmp_path: Path) -> None:
    trained(tmp_path, {"vanilla 0": 0.5})
    merge_into(tmp_path / "out", [tmp_path])
    (tmp_path / "curves.parquet").unlink()
    with pytest.raises(DataError, match=r"curves\.parquet: missing; run the study again"):
        merge_into(tmp_path, [tmp_path])
    path = tmp_path / "out/results.parquet"
    path.write_bytes(path.read_bytes().replace(b'{"..": [', b'{"..": 3,'))
    with pytest.raises(DataError, match=r"results\.parquet: damaged"):
        read(tmp_path / "out")


def test_a_copied_folder_shows_the_same_runs(tmp_path: Path) -> None:
    """Copies may have other times: the time of writing is in the file."""
    study, copy = tmp_path / "study", tmp_path / "copy"
    trained(study, {"vanilla 0": None}, "1/3")
    trained(study, {"vanilla 0": 0.5}, "1/2")
    shutil.copytree(study, copy)
    for number, name in enumerate(sorted(os.listdir(copy))):  # 1-of-3 last
        os.utime(copy / name, (number, number))
    assert shown(copy, copy) == {"vanilla 0": 0.5}


def test_results_without_finished_runs_need_no_curves(tmp_path: Path) -> None:
    study = tmp_path / "study"
    trained(study, {"vanilla 0": 0.5}, "1/2")
    trained(study, {"mixup 0": None}, "2/2")
    (study / "curves-2-of-2.parquet").unlink()
    assert shown(study, study) == {"vanilla 0": 0.5, "mixup 0": None}


def test_a_run_that_serves_cells_of_two_folders_is_a_copy_of_each(tmp_path: Path) -> None:
    """Without noise, both colors have the same run, which each folder has trained for its color."""
    folders = tmp_path / "red", tmp_path / "blue"

    def train(number: int, accuracy: float) -> None:
        row = {"color": folders[number].name, "noise_level": 0.0, "method": "mixup", "network": "small_cnn", "seed": 0,
               "setting": "scratch", "run": "R", "status": "finished", "final_accuracy": accuracy}  # fmt: skip
        folders[number].mkdir(exist_ok=True)
        curve = {"run": "R", "epoch": 1, "step": 1, "test_accuracy": accuracy}
        write((RESULT.from_rows([row]), CURVE.from_rows([curve])), folders[number])

    for number in (0, 1):
        train(number, 0.1)
    out = tmp_path / "out"
    merge_into(out, folders)
    train(0, 0.9)
    results = read(out, folders[0])
    assert dict(zip(results["color"].to_pylist(), results["final_accuracy"].to_pylist(), strict=True)) == {
        "red": 0.9,
        "blue": 0.1,
    }
