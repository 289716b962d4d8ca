"""The description of the machine in a result, and the number of threads of a run."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from training import hardware
from training.data.shards import load_pair
from training.device import available_cores
from training.hardware import describe_environment
from training.recipes.registry import configure
from training.threads import choose_threads, cpu_threads, step_flops
from training.train import run_training

CPU = torch.device("cpu")


def test_the_environment_has_cpu_gpu_and_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some CPU @ 3: GHz\n\nmodel name\t: Other\n")
    monkeypatch.setattr(hardware, "CPUINFO", cpuinfo)
    environment = describe_environment(CPU)
    assert (environment["cpu"], environment["gpu"], environment["device"]) == (
        "Some CPU @ 3: GHz",
        None,
        "cpu",
    )
    assert environment["torch"] == torch.__version__
    monkeypatch.setattr(hardware, "CPUINFO", tmp_path / "none")
    assert describe_environment(CPU)["cpu"]


def test_small_networks_use_one_thread_and_a_run_keeps_its_number(dataset: Path, tmp_path: Path) -> None:
    sets = load_pair(dataset, "blue-0.40", "test")
    small = configure("tiny", 0.4, {"network": {"width": 2}, "epochs": 1, "batch_size": 32})
    large = configure("tiny", 0.4, {"network": {"name": "preact_resnet18"}, "augment": {"resize": 32}})
    cpu = torch.device("cpu")
    with cpu_threads(2):
        assert choose_threads(small, sets[0], tmp_path / "run", cpu) == 1
        assert choose_threads(large, sets[0], tmp_path / "run", cpu) == min(2, available_cores())
        assert choose_threads(replace(small, threads=3), sets[0], tmp_path / "run", cpu) == 3
        result = run_training(small, *sets, tmp_path / "run", device=cpu, features=tmp_path)
        assert result["threads"] == 1
        assert torch.get_num_threads() == 2
    config = tmp_path / "run/config.json"
    assert json.loads(config.read_text())["threads"] == 1
    config.write_text(json.dumps(json.loads(config.read_text()) | {"threads": 2}))
    assert choose_threads(small, sets[0], tmp_path / "run", cpu) == 2


def test_the_operations_of_a_step_are_counted(dataset: Path) -> None:
    """PreAct-ResNet18 at 32 pixels: 0.56 G multiply-adds an image (kuangliu/pytorch-cifar's network), two operations each."""
    sets = load_pair(dataset, "blue-0.40", "test")
    config = configure(
        "tiny", 0.4, {"network": {"name": "preact_resnet18", "width": 64}, "augment": {"resize": 32}}
    )
    assert step_flops(config, sets[0]) / config.batch_size == pytest.approx(2 * 0.556e9, rel=0.01)
