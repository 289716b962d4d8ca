"""Device, precision and kernel settings of a run."""

import contextlib
import os
from collections.abc import Iterator

import torch

from common.errors import UsageError
from training.errors import NOT_DETERMINISTIC

# For deterministic runs. PyTorch reads it once, at the first call of cuBLAS, which may come before such a run.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def choose_device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def available_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def use_bf16(precision: str, device: torch.device) -> bool:
    """Return whether to autocast to bf16; `auto` does on GPUs with bf16 units (compute capability 8.0 and later).

    On CPUs the choice needs a measurement: `precision.choose_precision` replaces `auto` before a run starts.
    """
    if precision != "auto":
        return precision == "bf16"
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


@contextlib.contextmanager
def kernel_settings(device: torch.device, deterministic: bool) -> Iterator[None]:
    """Use the fastest kernels inside the block or, if `deterministic`, those with bit-identical results.

    Products of float32 are not rounded to TF32. Previous settings are restored. On a CPU nothing changes. Raises UsageError
    for a layer without such kernels.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = not deterministic
    try:
        with full_precision(device):
            yield
    except RuntimeError as error:
        operation, found, _ = str(error).partition(NOT_DETERMINISTIC)
        if not found:
            raise
        raise UsageError(
            f"deterministic=true: the network or method uses {operation}, which has no kernel with bit-identical results on a "
            "GPU (AlexNet, VGG and others need one); set deterministic=false, or another network.name"
        ) from error
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


@contextlib.contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute products of float32 on a GPU inside the block without rounding to TF32, which torch's convolutions do by default."""
    if device.type != "cuda":
        yield
        return
    # torch's older functions, such as torch.get_float32_matmul_precision, raise if the caller has used these
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = matmul.fp32_precision, convolution.fp32_precision
    matmul.fp32_precision = convolution.fp32_precision = "ieee"
    try:
        yield
    finally:
        matmul.fp32_precision, convolution.fp32_precision = before
