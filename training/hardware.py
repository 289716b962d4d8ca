"""Hardware and software of a run, and its energy according to hardware counters."""

import importlib
import os
import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

POWERCAP = Path("/sys/class/powercap")
CPUINFO = Path("/proc/cpuinfo")


def describe_environment(device: torch.device) -> dict[str, Any]:
    """Return the device, CPU, GPU, thread count and versions of this process, for result.json."""
    try:
        own = version("controlled-noise")
    except PackageNotFoundError:  # the package is not installed
        own = None
    return {
        "device": device.type,
        "cpu": _cpu_model(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "version": own,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _cpu_model() -> str:
    if CPUINFO.is_file():
        for line in CPUINFO.read_text(encoding="utf-8", errors="replace").split("\n"):
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


class EnergyMeter:
    """Measure the energy in joules of all processors of this machine (`cpu`) and of one GPU (`gpu`).

    Counters are RAPL through the kernel's powercap files, which only root can read on most systems, and NVML if
    nvidia-ml-py is installed. Counters that cannot be read are omitted. The values include all other programs on the
    machine.
    """

    def __init__(self, device: torch.device, powercap: Path = POWERCAP) -> None:
        self._counters: dict[str, Callable[[], float]] = {}
        domains = [path for path in sorted(powercap.glob("intel-rapl:*")) if _is_package_domain(path)]
        if domains:
            self._counters["cpu"] = _Rapl(domains)
        if gpu := _nvml(device):
            self._counters["gpu"] = gpu
        self._before = {name: read() for name, read in self._counters.items()}

    def read(self) -> dict[str, float]:
        """Return the joules of each counter since the previous call."""
        now = {name: read() for name, read in self._counters.items()}
        spent = {name: now[name] - self._before[name] for name in now}
        self._before = now
        return spent


def _is_package_domain(domain: Path) -> bool:
    """Return whether a powercap zone is a readable package or DRAM zone; core zones are part of the package."""
    try:
        (domain / "energy_uj").read_text()
        return (domain / "name").read_text().startswith(("package", "dram"))
    except OSError:
        return False


class _Rapl:
    """Sum of RAPL counters, corrected for overflow. Read it more often than a counter overflows."""

    def __init__(self, domains: list[Path]) -> None:
        self._ranges = {path: int((path / "max_energy_range_uj").read_text()) for path in domains}
        self._last = {path: self._read(path) for path in domains}
        self._sum = 0

    def __call__(self) -> float:
        for path, before in self._last.items():
            now = self._last[path] = self._read(path)
            self._sum += now - before + (self._ranges[path] if now < before else 0)
        return self._sum / 1e6

    @staticmethod
    def _read(path: Path) -> int:
        return int((path / "energy_uj").read_text())


def _nvml(device: torch.device) -> Callable[[], float] | None:
    """Return a function that reads the GPU's energy counter, or None.

    The GPU is identified by UUID, since CUDA and NVML may number devices differently.
    """
    if device.type != "cuda":
        return None
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
        card = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        nvml.nvmlDeviceGetTotalEnergyConsumption(card)
    except ModuleNotFoundError:
        return None
    except nvml.NVMLError:  # the counter is not supported, for example on a MIG instance
        return None
    return lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(card) / 1e3
