"""What a run says about its machine: energy from counters that wrap, are forbidden, or are not there."""

from pathlib import Path

import pytest
import torch

from training import hardware
from training.hardware import EnergyMeter, circumstances

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
    told = circumstances(CPU)
    assert (told["cpu"], told["gpu"], told["device"]) == ("Some CPU @ 3: GHz", None, "cpu")
    assert told["torch"] == torch.__version__
    monkeypatch.setattr(hardware, "CPUINFO", tmp_path / "none")
    assert circumstances(CPU)["cpu"]
