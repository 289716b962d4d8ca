"""Both parts of the first measurements on a GPU run on a CPU with tiny sizes, and order and count their runs as planned."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import first_gpu, step
from common.config import build
from training.config import NetworkConfig
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


def test_an_epoch_is_profiled_after_the_timed_one() -> None:
    network, data = NetworkConfig("small_cnn", 2), step.synthetic_set(64)
    cpu = torch.device("cpu")
    measured = step.measure(data, network, "mentormix", "off", 32, cpu, profiled=True)
    assert measured.idle_share is not None
    assert 0 <= measured.idle_share < 1
    assert step.measure(data, network, "vanilla", "off", 32, cpu, profiled=False).idle_share is None


def test_a_line_of_a_gpu_has_time_share_of_the_peak_and_idle_share() -> None:
    line = step.gpu_line("mentormix", step.Measurement(25_000.0, 0.125), forward_flops=1e9, peak=1e15)
    assert line == (
        "mentormix: an epoch of 50,000 images 2.00 s, 100 TFLOP/s, 10.0% of 1e+15, no kernel runs in 12.5% of the time"
    )
