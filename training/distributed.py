"""The processes that share a training run, started by torchrun; each computes a part of every batch.

Together they compute what one process computes on the whole batch, up to rounding: tensors are gathered where a method
compares examples, batch norm uses statistics of the whole batch, and gradients are averaged. They share evaluations, too
(training/evaluation.py).
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from common.errors import UsageError
from training.data.order import process_slice
from training.device import choose_device
from training.models.student import BATCH_NORMS

BARRIER_TIMEOUT = timedelta(days=1)  # the first process may copy a large set while the others wait


@dataclass(frozen=True)
class Processes:
    """The number of processes of a run, and the rank of this one."""

    rank: int = 0
    size: int = 1
    barrier_group: dist.ProcessGroup | None = None
    """Process group of `barrier`. It uses sockets, which fail when a process has died."""

    def part(self, count: int) -> slice:
        """Return this process's slice of `count` items."""
        return process_slice(count, self.rank, self.size)

    def gather(self, tensor: Tensor) -> Tensor:
        """Concatenate [B/size, …] of all processes in rank order to [B, …], without gradient."""
        if self.size == 1:
            return tensor
        parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(self.size)]
        dist.all_gather(parts, tensor.detach().contiguous())
        return torch.cat(parts)

    def average_(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors in place by their mean over all processes, in one all-reduce.

        torch's DistributedDataParallel overlaps its all-reduces with the backward pass, but averages one network's
        gradients alone, and not those of a method's parameters or the losses. With two processes over gloo, on two busy
        cores, its steps took 0.82 to 1.05 of the time of ours, and the quartiles of every case included 1
        (`python -m benchmarks.two_processes`). On several GPUs neither has been measured.
        """
        if self.size == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        means = flat.div_(self.size).split([tensor.numel() for tensor in tensors])
        for tensor, mean in zip(tensors, means, strict=True):
            tensor.copy_(mean.view(tensor.shape))

    def any(self, flag: bool, device: torch.device) -> bool:
        """Return whether the flag is set in any process. All processes must call this."""
        if self.size == 1:
            return flag
        count = torch.tensor(float(flag), device=device)
        dist.all_reduce(count)
        return bool(count > 0)

    def barrier(self) -> None:
        """Wait until all processes have called this."""
        if self.size > 1:
            dist.barrier(self.barrier_group)


@contextlib.contextmanager
def join_processes() -> Iterator[tuple[Processes, torch.device]]:
    """Join the processes that torchrun started, if any; yield them and the device of this process."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes(), choose_device()
        return
    device = choose_device()
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    barrier_group = dist.new_group(backend="gloo", timeout=BARRIER_TIMEOUT)
    assert isinstance(barrier_group, dist.ProcessGroup)  # every process is a member
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), barrier_group), device
    finally:
        dist.destroy_process_group()


class _Sum(torch.autograd.Function):
    """Sum a tensor over the processes; the gradient is the sum of their gradients."""

    @staticmethod
    def forward(_: Any, tensor: Tensor) -> Tensor:
        """Sum the tensors of all processes."""
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        """Sum the gradients of all processes."""
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


class CpuSyncBatchNorm(nn.BatchNorm2d):
    """Batch norm over the batches of all processes on CPUs, where nn.SyncBatchNorm is not available."""

    @classmethod
    def convert(cls, norm: nn.BatchNorm2d) -> "CpuSyncBatchNorm":
        """Return a synchronized batch norm with the parameters, statistics and mode of `norm`."""
        converted = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        converted.weight, converted.bias = norm.weight, norm.bias
        for name, buffer in norm.named_buffers():
            setattr(converted, name, buffer)
        return converted.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize [B, C, H, W] per channel."""
        if not self.training:
            return super().forward(x)
        full = x.float()
        count = torch.tensor([float(full.numel() // full.shape[1])])
        total = _Sum.apply(torch.cat([full.sum(dim=(0, 2, 3)), count]))
        pixels, mean = total[-1], total[:-1] / total[-1]
        centered = full - mean[:, None, None]
        variance = _Sum.apply(centered.square().sum(dim=(0, 2, 3))) / pixels
        if self.track_running_stats:
            with torch.no_grad():
                assert self.running_mean is not None
                assert self.running_var is not None
                assert self.num_batches_tracked is not None
                self.running_mean.lerp_(mean, self.momentum or 0.0)
                self.running_var.lerp_(variance * pixels / (pixels - 1), self.momentum or 0.0)
                self.num_batches_tracked += 1
        scaled = centered * (variance + self.eps).rsqrt()[:, None, None]
        return (scaled * self.weight[:, None, None] + self.bias[:, None, None]).to(x.dtype)


def synchronize_batch_norms(network: nn.Module, processes: Processes, device: torch.device) -> nn.Module:
    """Return the network with batch norms that use the batches of all processes.

    Raises UsageError for subclasses of batch norm that cannot be converted, such as timm's on a CPU, which contain an
    activation.
    """
    if processes.size == 1:
        return network
    subclasses = {type(module) for module in network.modules() if isinstance(module, BATCH_NORMS)}
    subclasses -= {nn.BatchNorm2d}
    if device.type == "cuda":
        if not subclasses:
            return nn.SyncBatchNorm.convert_sync_batchnorm(network)
        if all(subclass.__module__.startswith("timm.") for subclass in subclasses):
            from timm.layers import convert_sync_batchnorm  # torch's would drop the activations

            converted: nn.Module = convert_sync_batchnorm(network)
            return converted
    if subclasses:
        names = ", ".join(sorted(subclass.__name__ for subclass in subclasses))
        raise UsageError(
            f"network.name: the batch norms of this network ({names}) cannot be synchronized between processes; "
            "train in one process, without torchrun"
        )
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            network.set_submodule(name, CpuSyncBatchNorm.convert(module))
    return network
