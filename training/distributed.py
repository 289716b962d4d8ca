"""The processes that share a run: one, or those that torchrun started, each with its part of every batch.

What they compute together is what one process computes with the whole batch, to rounding: losses and weights are
gathered where a method compares examples, batch norm sees the whole batch, and gradients are averaged.
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
from torch.nn.modules.batchnorm import _BatchNorm

from common.errors import UsageError
from training.data.order import share
from training.device import choose_device

BARRIER_TIMEOUT = timedelta(days=1)  # of those who wait while the first process copies a set from afar


@dataclass(frozen=True)
class Processes:
    """How many processes there are, and which one this is."""

    rank: int = 0
    size: int = 1
    barrier_group: dist.ProcessGroup | None = None
    """The group that waits for each other: over sockets, which also tell when one has died."""

    def share(self, count: int) -> slice:
        """Return this process's part of `count` places."""
        return share(count, self.rank, self.size)

    def gather(self, tensor: Tensor) -> Tensor:
        """Join [B/size, …] of all processes, in the order of their ranks, to [B, …]; no gradient flows."""
        if self.size == 1:
            return tensor
        parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(self.size)]
        dist.all_gather(parts, tensor.detach().contiguous())
        return torch.cat(parts)

    def average_(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their mean over the processes, in one exchange."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        for tensor, mean in zip(
            tensors, flat.div_(self.size).split([t.numel() for t in tensors]), strict=True
        ):
            tensor.copy_(mean.view(tensor.shape))

    def any(self, flag: bool, device: torch.device) -> bool:
        """Tell whether the flag is set in any process; all must ask."""
        if self.size == 1:
            return flag
        count = torch.tensor(float(flag), device=device)
        dist.all_reduce(count)
        return bool(count > 0)

    def barrier(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            dist.barrier(self.barrier_group)


@contextlib.contextmanager
def join_processes() -> Iterator[tuple[Processes, torch.device]]:
    """Enter the group that torchrun's environment names, or stay alone; yield the world and the device."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes(), choose_device()
        return
    device = choose_device()
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    barrier_group = dist.new_group(backend="gloo", timeout=BARRIER_TIMEOUT)
    assert isinstance(barrier_group, dist.ProcessGroup)  # every process is in it
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), barrier_group), device
    finally:
        dist.destroy_process_group()


class _Sum(torch.autograd.Function):
    """Sum of a tensor over the processes; so the gradient is the sum of theirs."""

    @staticmethod
    def forward(_: Any, tensor: Tensor) -> Tensor:
        """Add up."""
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        """Add up the gradients."""
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


class CpuSyncBatchNorm(nn.BatchNorm2d):
    """Batch norm over the batches of all processes, for the CPU, where torch has none."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the same."""
        if not self.training:
            return super().forward(x)
        full = x.float()
        count = torch.tensor([float(full.numel() // full.shape[1])])
        total = _Sum.apply(torch.cat([full.sum(dim=(0, 2, 3)), count]))
        seen, mean = total[-1], total[:-1] / total[-1]
        centered = full - mean[:, None, None]
        variance = _Sum.apply(centered.square().sum(dim=(0, 2, 3))) / seen
        if self.track_running_stats:
            with torch.no_grad():
                assert self.running_mean is not None
                assert self.running_var is not None
                assert self.num_batches_tracked is not None
                self.running_mean.lerp_(mean, self.momentum or 0.0)
                self.running_var.lerp_(variance * seen / (seen - 1), self.momentum or 0.0)
                self.num_batches_tracked += 1
        scaled = centered * (variance + self.eps).rsqrt()[:, None, None]
        return (scaled * self.weight[:, None, None] + self.bias[:, None, None]).to(x.dtype)


def synchronize_batch_norms(network: nn.Module, processes: Processes, device: torch.device) -> nn.Module:
    """Let the batch norms of a network see the batches of all processes.

    Raises UsageError for a network with norms that do more, such as timm's on a CPU: they have an activation inside.
    """
    if processes.size == 1:
        return network
    others = {type(one) for one in network.modules() if isinstance(one, _BatchNorm)} - {nn.BatchNorm2d}
    if device.type == "cuda":
        if not others:
            return nn.SyncBatchNorm.convert_sync_batchnorm(network)
        if all(kind.__module__.startswith("timm.") for kind in others):
            from timm.layers import convert_sync_batchnorm  # torch's would leave the activations out

            shared: nn.Module = convert_sync_batchnorm(network)
            return shared
    if others:
        names = ", ".join(sorted(kind.__name__ for kind in others))
        raise UsageError(
            f"network.name: its batch norms ({names}) cannot be shared by processes; start it without torchrun"
        )
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.__class__ = CpuSyncBatchNorm
    return network
