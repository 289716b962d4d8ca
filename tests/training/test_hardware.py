"""What a run says about its machine: energy from counters that wrap, are forbidden, or are not there."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from training import hardware
from training.data.shards import load_pair
from training.device import available_cores
from training.hardware import EnergyMeter, describe_environment
from training.recipes.choose import configure
from training.threads import choose_threads, cpu_threads, step_flops
from training.train import run_training

CPU = torch.device("cpu")


def zone(root: Path, name: str, kind: str, microjoules: int, most: int = 1_000_000_000) -> Path:
    """A powercap zone as Linux shows it."""
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{kind}\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    (folder / "max_energy_range_uj").write_text(f"{most}\n")
    return folder


def test_energy_sums_packages_and_memory_across_wraps(tmp_path: Path) -> None:
    first = zone(tmp_path, "intel-rapl:0", "package-0", 999_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 0)
    memory = zone(tmp_path, "intel-rapl:0:1", "dram", 5_000_000)
    core = zone(tmp_path, "intel-rapl:0:0", "core", 0)  # a part of the package
    board = zone(tmp_path, "intel-rapl:2", "psys", 0)  # the packages and more
    meter = EnergyMeter(CPU, tmp_path)
    for folder, value in (
        (first, 1_000_000),
        (second, 3_000_000),
        (memory, 5_500_000),
        (core, 9),
        (board, 9),
    ):
        (folder / "energy_uj").write_text(f"{value}\n")
    assert meter.read() == pytest.approx({"cpu": 2.0 + 3.0 + 0.5})
    assert meter.read() == {"cpu": 0.0}


def test_without_counters_there_is_no_energy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert EnergyMeter(CPU, tmp_path / "none").read() == {}
    zone(tmp_path, "intel-rapl:0", "package-0", 7)
    (tmp_path / "intel-rapl:0/energy_uj").unlink()  # as unreadable as one for root alone
    assert EnergyMeter(CPU, tmp_path).read() == {}


def test_the_machine_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some CPU @ 3: GHz\n\nmodel name\t: Other\n")
    monkeypatch.setattr(hardware, "CPUINFO", cpuinfo)
    told = describe_environment(CPU)
    assert (told["cpu"], told["gpu"], told["device"]) == ("Some CPU @ 3: GHz", None, "cpu")
    assert told["torch"] == torch.__version__
    monkeypatch.setattr(hardware, "CPUINFO", tmp_path / "none")
    assert describe_environment(CPU)["cpu"]


def test_small_networks_take_one_thread_and_a_run_keeps_its_number(dataset: Path, tmp_path: Path) -> None:
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


def test_the_operations_of_a_step_are_those_of_its_convolutions(dataset: Path) -> None:
    """PreAct-ResNet18 at 32 pixels: 0.56 G multiply-adds an image (kuangliu/pytorch-cifar's network), two operations each."""
    sets = load_pair(dataset, "blue-0.40", "test")
    config = configure(
        "tiny", 0.4, {"network": {"name": "preact_resnet18", "width": 64}, "augment": {"resize": 32}}
    )
    assert step_flops(config, sets[0]) / config.batch_size == pytest.approx(2 * 0.556e9, rel=0.01)
