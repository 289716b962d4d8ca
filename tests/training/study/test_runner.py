"""Runs of a study: locks, failures, resumption, kills, shards, and the budget."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from common.atomic_file import temporary_path
from common.errors import UsageError
from tests.training.study.small_study import arguments, small_study, without_times
from training import checkpoint, metrics
from training.__main__ import main
from training.measurement import Measurement
from training.study import grid, results, run_state, runner, study_verb
from training.study.shard import ShardOfRuns

LOCK_AND_WAIT = """
import pathlib, sys, time
from common.locks import try_lock
path = pathlib.Path(sys.argv[1], "locks", sys.argv[2] + ".lock")
path.parent.mkdir(parents=True)
with try_lock(path):
    print("locked", flush=True)
    time.sleep(600)
"""
GRID = ["--levels", "0.0", "0.4", "--colors", "blue", "--methods", "vanilla", "mixup", "--seeds", "0"]


def start_study(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "training", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_until(condition: Any, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_one_process_has_a_run_until_it_ends_or_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOCK_AND_WAIT, str(tmp_path), "run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        assert owner.stdout.readline() == "locked\n"
        assert run_state.is_locked(tmp_path, "run")
        with run_state.try_lock(tmp_path, "run") as locked:
            assert not locked
        assert run_state.read_state(tmp_path, "run") == run_state.RUNNING
        owner.kill()
        owner.wait()
        assert not run_state.is_locked(tmp_path, "run")
    assert run_state.read_state(tmp_path, "run") == run_state.WAITING


def test_a_run_that_another_command_trains_is_waited_for(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other command is killed while this one waits, which then trains the run."""
    [cell] = grid.make_cells(small_study(levels=(0.4,), seeds=(0,)), dataset)
    command = [sys.executable, "-c", LOCK_AND_WAIT, str(tmp_path), cell.run.name]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as owner:
        assert owner.stdout
        owner.stdout.readline()
        waits: list[float] = []

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 3:
                owner.kill()
                owner.wait()

        monkeypatch.setattr(runner.time, "sleep", sleep)
        folders = runner.StudyFolders(dataset, "test", tmp_path)
        assert list(runner.run_all([cell.run], folders, jobs=1)) == [cell.run]
    assert len(waits) == 3
    assert run_state.read_state(tmp_path, cell.run.name) == run_state.FINISHED


def test_a_failure_of_another_command_is_not_tried_again_until_the_next(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = grid.make_cells(small_study(levels=(0.4,)), dataset)
    first, second = (cell.run for cell in cells)
    folders, trained = runner.StudyFolders(dataset, "test", tmp_path), []
    run_state.record_failure(tmp_path, first.name, "an earlier failure")

    def train(_config: Any, _train: Any, _test: Any, folder: Path, **_: Any) -> None:
        trained.append(folder.name)
        run_state.record_failure(tmp_path, second.name, "failed in another command")
        raise RuntimeError("again")

    monkeypatch.setattr(runner, "run_training", train)
    assert set(runner.run_all([first, second], folders, jobs=1)) == {first, second}
    assert trained == [first.name]
    assert run_state.read_failure(tmp_path, first.name) == "RuntimeError: again"


def test_a_run_that_lacks_memory_of_the_gpu_is_recorded_with_a_remedy(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [cell] = grid.make_cells(small_study(levels=(0.4,), seeds=(0,)), dataset)

    def train(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("tried to allocate 3 GiB")

    monkeypatch.setattr(runner, "run_training", train)
    list(runner.run_all([cell.run], runner.StudyFolders(dataset, "test", tmp_path), jobs=1))
    recorded = run_state.read_failure(tmp_path, cell.run.name)
    assert recorded == (
        "the GPU is out of memory (tried to allocate 3 GiB); use fewer --jobs or --resident-gb 0, which keep the finished "
        "runs, or add accumulate: 2 (or more) to overrides, which changes results, so that all runs are trained again"
    )


def test_a_run_whose_start_was_killed_starts_again(dataset: Path, tmp_path: Path) -> None:
    """The folder holds the temporary file of a configuration that was never renamed."""
    [cell] = grid.make_cells(small_study(levels=(0.4,), seeds=(0,)), dataset)
    folder = run_state.run_folder(tmp_path, cell.run.name)
    folder.mkdir(parents=True)
    temporary_path(folder / "config.json").write_text("{")
    list(runner.run_all([cell.run], runner.StudyFolders(dataset, "test", tmp_path), jobs=1))
    assert run_state.is_finished(tmp_path, cell.run.name)


def test_unfinished_runs_of_version_0_1_are_refused(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "claims").mkdir()
    with pytest.raises(UsageError, match="which this version cannot resume"):
        run_state.reject_old_layout(tmp_path)
    assert main(arguments(dataset, tmp_path, *GRID)) == 2
    assert "delete claims/" in capsys.readouterr().err


def test_two_commands_share_a_grid_and_one_is_killed(dataset: Path, tmp_path: Path) -> None:
    """No run is lost, none is trained twice, and the tables are those of an undisturbed study."""
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    more = [*GRID, "--set", "epochs=30"]
    assert main(arguments(dataset, alone, *more)) == 0
    victim, survivor = (start_study(*arguments(dataset, shared, *more)) for _ in range(2))
    wait_until(lambda: len(list(shared.glob("runs/*/metrics.jsonl"))) >= 2)
    before = {path: path.stat().st_ino for path in shared.glob("runs/*/result.json")}
    victim.send_signal(signal.SIGKILL)
    assert (victim.wait(100), survivor.wait(400)) == (-signal.SIGKILL, 0)
    assert {path: path.stat().st_ino for path in before} == before
    assert len(list(shared.glob("runs/*/result.json"))) == 4
    for folder in shared.glob("runs/*"):
        assert [row["epoch"] for row in metrics.read_rows(folder)] == list(range(1, 31))
    assert without_times(shared) == without_times(alone)


def test_a_killed_study_leaves_no_worker_and_its_runs_resume(dataset: Path, tmp_path: Path) -> None:
    """After SIGKILL of the command, its workers save checkpoints and end."""
    more = ["--levels", "0.4", "--colors", "blue", "--methods", "vanilla", "--seeds", "0", "1"]
    call = [*arguments(dataset, tmp_path, *more), "--jobs", "2", "--set", "epochs=100000"]
    process = start_study(*call)
    wait_until(lambda: len(list(tmp_path.glob("runs/*/metrics.jsonl"))) == 2)
    process.kill()
    process.wait(60)
    wait_until(lambda: not living_processes(process.pid), 60)
    folders = list(tmp_path.glob("runs/*"))
    assert len(folders) == 2
    assert all(checkpoint.newest(folder) for folder in folders)
    assert {run_state.read_state(tmp_path, folder.name) for folder in folders} == {run_state.STOPPED}


def test_a_killed_worker_is_a_failure_of_its_run_alone(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command looks at its workers between pauses: a worker dies in one, and Ctrl-C follows in a later one."""
    more = ["--levels", "0.4", "--colors", "blue", "--methods", "vanilla", "--seeds", "0", "1"]
    call = [*arguments(dataset, tmp_path, *more), "--jobs", "2", "--set", "epochs=100000"]
    killed: list[int] = []

    def workers() -> list[int]:
        return [pid for pid in living_processes(os.getpgrp()) if holds_lock(pid, tmp_path)]

    def pause(_: float) -> None:
        if not killed:
            wait_until(lambda: len(list(tmp_path.glob("runs/*/metrics.jsonl"))) == len(workers()) == 2)
            killed.append(workers()[0])
            os.kill(killed[0], signal.SIGKILL)
            wait_until(lambda: killed[0] not in living_processes(os.getpgrp()))
        elif list(tmp_path.glob("failures/*.json")):
            signal.raise_signal(signal.SIGINT)
        else:
            time.sleep(0.05)  # until the command knows of the death

    monkeypatch.setattr(runner, "time", SimpleNamespace(sleep=pause))
    assert main(call) == 130
    [failure] = tmp_path.glob("failures/*.json")
    assert "killed (signal 9)" in str(run_state.read_failure(tmp_path, failure.stem))
    assert not workers()
    [other] = [folder for folder in tmp_path.glob("runs/*") if folder.name != failure.stem]
    assert checkpoint.newest(other)


def living_processes(group: int) -> list[int]:
    """The processes of a group that still run; zombies do not count."""
    pids = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, process_group = status.read_text().rpartition(")")[2].split()[:3]
            if int(process_group) == group and state != "Z":
                pids.append(int(status.parent.name))
    return pids


def holds_lock(pid: int, output: Path) -> bool:
    with contextlib.suppress(OSError):  # the process has ended
        files = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()]
        return any(file.startswith(str(output / "locks")) for file in files)
    return False


@pytest.mark.parametrize("count", [1, 2, 3, 5, 40])
def test_shards_have_every_run_once_and_share_each_method_evenly(dataset: Path, count: int) -> None:
    study = small_study(methods=("vanilla", "mixup", "mentormix"), seeds=tuple(range(6)))
    runs = grid.unique_runs(grid.make_cells(study, dataset))
    shards = [grid.select_shard(runs, ShardOfRuns(number, count)) for number in range(1, count + 1)]
    assert sorted(run.name for shard in shards for run in shard) == sorted(run.name for run in runs)
    for method in study.methods:
        sizes = [sum(run.config.method == method for run in shard) for shard in shards]
        assert max(sizes) - min(sizes) <= 1


def test_priority_takes_the_first_seed_of_every_cell_first(dataset: Path) -> None:
    study = small_study(methods=("vanilla", "mixup"), seeds=(7, 3, 5), levels=(0.4, 0.0))
    runs = grid.unique_runs(grid.make_cells(study, dataset))
    ordered = grid.order_by_priority(runs, study)
    assert [run.config.seed for run in ordered] == [7] * 4 + [3] * 4 + [5] * 4
    assert [run.set_name for run in ordered] == ["blue-0.40", "blue-0.40", "blue-0.00", "blue-0.00"] * 3
    assert len({(run.set_name, run.config.method) for run in ordered[:4]}) == 4


@pytest.mark.parametrize("shard", ["0/4", "5/4", "1", "a/b", "1/0", "-1/2"])
def test_a_shard_must_be_one_of_its_count(shard: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "--data", "x", "--output", "y", "--levels", "0.4", f"--shard={shard}"]) == 2
    assert "expected I/N with I from 1 to N" in capsys.readouterr().err


@pytest.mark.parametrize("shared", [True, False])
def test_shards_give_the_tables_of_one_command(dataset: Path, tmp_path: Path, shared: bool) -> None:
    """In one folder, and in a folder each, whose tables are merged."""
    whole = tmp_path / "whole"
    folders = [tmp_path / ("shared" if shared else f"part-{number}") for number in (1, 2, 3)]
    assert main(arguments(dataset, whole, *GRID)) == 0
    for number, folder in enumerate(folders, 1):
        assert main(arguments(dataset, folder, *GRID, "--shard", f"{number}/3")) == 0
    studies = list(dict.fromkeys(folders))
    assert without_times(*studies) == without_times(whole)
    if not shared:
        output = tmp_path / "plots"
        assert main(["plot", *map(str, studies), "--output", str(output)]) == 0
        assert (output / "figures/accuracy.svg").exists()
        assert without_times(output) == without_times(whole)


def test_tables_of_different_studies_are_not_merged(dataset: Path, tmp_path: Path) -> None:
    for folder, seed_one in (("a", "1"), ("b", "2")):
        more = ["--levels", "0.4", "--colors", "blue", "--methods", "vanilla", "--seeds", "0"]
        assert main(arguments(dataset, tmp_path / folder, *more, "--set", f"epochs={seed_one}")) == 0
    with pytest.raises(Exception, match="different configurations or sets"):
        results.read(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_budget_ends_with_checkpoints_and_the_number_of_runs_left(
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    jobs: str,
) -> None:
    """On the clock of the command, 9 seconds pass when the first runs begin, and then when the last one ends."""

    def clock(file: str, count: int) -> None:
        def seconds() -> float:
            return 9.0 if len(list(tmp_path.glob(f"runs/*/{file}"))) == count else 0.0

        monkeypatch.setattr(study_verb, "time", SimpleNamespace(monotonic=seconds))

    clock("metrics.jsonl", int(jobs))
    more = ["--levels", "0.4", "--colors", "blue", "--methods", "vanilla", "--seeds", "0", "1", "2"]
    call = [*arguments(dataset, tmp_path, *more), "--jobs", jobs]
    assert main([*call, "--set", "epochs=100000", "--budget", "8"]) == 75
    assert "the budget of 8 s is used up: 3 of 3 runs left" in capsys.readouterr().err
    assert len(list(tmp_path.glob("runs/*/checkpoint-*"))) == int(jobs)
    assert set(results.read(tmp_path)["status"].to_pylist()) == {"missing"}
    clock("result.json", 3)
    assert main([*call, "--budget", "8"]) == 0
    assert "used up" not in capsys.readouterr().err


def test_ctrl_c_ends_a_study_with_a_checkpoint(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = Measurement.row

    def measure_and_press(self: Measurement, epoch: int) -> Any:
        if epoch == 1 and self.config.epochs == 2:  # not in the three epochs that are timed before
            signal.raise_signal(signal.SIGINT)
        return real(self, epoch)

    monkeypatch.setattr(Measurement, "row", measure_and_press)
    call = arguments(dataset, tmp_path, *GRID, "--set", "epochs=2")
    assert main(call) == 130
    assert "run the same command again to resume" in capsys.readouterr().err
    assert len(list(tmp_path.glob("runs/*/checkpoint-*"))) == 1
    monkeypatch.undo()
    assert main(call) == 0
