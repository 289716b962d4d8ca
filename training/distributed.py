"""The processes that share a training run, started by torchrun; each computes a part of every batch.

Together they compute what one process computes on the whole batch, up to rounding: tensors are gathered where a method
compares examples, batch norm uses statistics of the whole batch, and gradients are averaged. They share evaluations, too
(training/evaluation.py).
"""

import contextlib
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from common.errors import UsageError
from training.data.order import process_slice
from training.device import choose_device

BARRIER_TIMEOUT = timedelta(days=1)  # the first process may copy a large set while the others wait


@dataclass(frozen=True)
class Processes:
    """The number of processes of a run, and the rank of this one."""

    rank: int = 0
    size: int = 1
    barrier_group: Callable[[], dist.ProcessGroup | None] = lambda: None
    """Weak reference to the process group of `barrier`. The group uses sockets, which fail when a process has died.

    The reference is weak so that the threads of the group end in `join_processes`. A thread that still runs while Python exits
    can abort the process.
    """

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
            dist.barrier(self.barrier_group())


@contextlib.contextmanager
def join_processes() -> Iterator[tuple[Processes, torch.device]]:
    """Join the processes that torchrun started, if any; yield them and the device of this process.

    Raises UsageError if there are more of them than GPUs on a machine that has some.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes(), choose_device()
        return
    device = choose_device()
    if device.type == "cuda":
        device = _own_gpu(int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    barrier_group = dist.new_group(backend="gloo", timeout=BARRIER_TIMEOUT)
    assert isinstance(barrier_group, dist.ProcessGroup)  # every process is a member
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), weakref.ref(barrier_group)), device
    finally:
        dist.destroy_process_group()


def _own_gpu(local_rank: int) -> torch.device:
    """Return the GPU of the process with this rank on its machine; NCCL allows one process for each."""
    gpus = torch.cuda.device_count()
    if local_rank >= gpus:
        raise UsageError(
            f"torchrun: started more processes on this machine than torch sees GPUs ({gpus}); set --nproc-per-node to at most "
            f"{gpus}, or check CUDA_VISIBLE_DEVICES"
        )
    return torch.device("cuda", local_rank)
