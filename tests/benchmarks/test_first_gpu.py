"""Both parts of the first measurements on a GPU run on a CPU with tiny sizes, and order and count their runs as planned."""

import json
from pathlib import Path

import pytest

from benchmarks import first_gpu, step
from common.config import build
from training.study import grid


def test_part_1_runs_the_tests_and_the_benchmark_of_steps(tmp_path: Path) -> None:
    assert first_gpu.main(["--part", "1", "--dry-run", "--output", str(tmp_path)]) == 0
    summary = json.loads((tmp_path / "part1.json").read_text())
    assert summary["tests"]["exit_code"] == 0
    lines = [line.split()[0] for line in summary["step"]["lines"] if "times the textbook loop" in line]
    assert lines == ["vanilla", "mentormix"]


def test_part_2_trains_a_study_and_summarizes_it(tmp_path: Path) -> None:
    assert first_gpu.main(["--part", "2", "--dry-run", "--output", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "part2.json").read_text())["rows"]
    methods = ["vanilla", "mixup", "mentormix, ramp", "mentormix, pd-closed"]
    assert [row["method"] for row in rows] == methods * 4
    assert [row["noise_level"] for row in rows[::4]] == [0.4, 0.8, 0.6, 0.2]
    assert all(0 <= row["test_accuracy"] <= 1 and row["time_ratio"] > 0 for row in rows)
    assert "MentorMix takes" in (tmp_path / "part2.md").read_text()


def test_the_study_has_four_runs_per_level_and_seed_and_takes_40_and_80_percent_first(tmp_path: Path) -> None:
    first_gpu.write_dataset(tmp_path, first_gpu.TINY)
    study = build(grid.StudyConfig, first_gpu.make_study(first_gpu.FULL), "study")
    runs = grid.order_by_priority(grid.unique_runs(grid.make_cells(study, tmp_path)), study)
    assert [run.set_name for run in runs[:16:4]] == ["blue-0.40", "blue-0.80", "blue-0.60", "blue-0.20"]
    assert [run.config.seed for run in runs] == [0] * 16 + [1] * 16 + [2] * 16
    [ramp, closed] = [run.config.mentormix for run in runs[:4] if run.config.method == "mentormix"]
    assert (ramp.schedule, ramp.mentor) == ("ramp", "threshold")
    assert (closed.schedule, closed.mentor) == ("released", "pd-closed")
    for run in runs:
        config = run.config
        assert (config.epochs, config.batch_size, config.precision) == (30, 512, "bf16")
        assert (config.compile, config.optimizer.schedule) == ("reduce-overhead", "cosine")


def test_a_command_that_exceeds_its_time_is_ended_and_its_output_kept(tmp_path: Path) -> None:
    command = ["sh", "-c", "echo begun; exec sleep 60"]
    assert first_gpu.run_logged(command, tmp_path / "log.txt", 0.5) is None
    assert (tmp_path / "log.txt").read_text() == "begun\n"


def test_the_idle_share_counts_the_gaps_between_kernels() -> None:
    assert step.idle_share([(0, 2), (1, 3), (5, 6), (5, 10)]) == pytest.approx(0.2)
    assert step.idle_share([(1, 2)]) == 0
