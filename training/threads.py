"""Number of CPU threads of a run.

It is part of the run's description, since the last bits of results may depend on it.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch

from training.config import TrainConfig
from training.data.shards import ImageSet
from training.device import available_cores
from training.models.forward_cost import forward_flops
from training.run_directory import recorded

# Forward operations per batch below which one thread is used: about 50 ms per step. Idle threads spin on a busy
# machine: a step of the small CNN took 6 to 57 times the CPU time with two threads.
ONE_THREAD_FLOPS = 2e9


def threads_per_job(jobs: int) -> int:
    """Return the maximum number of threads of a run when `jobs` runs share the cores; never more than torch's number."""
    return max(1, min(torch.get_num_threads(), available_cores() // jobs))


def choose_threads(config: TrainConfig, train: ImageSet, directory: Path, device: torch.device) -> int:
    """Return the number of threads of a run: the recorded number of a resumed run, else config.threads, else a default.

    The default is 1 for small networks, else torch's current number (OMP_NUM_THREADS), at most the available cores.
    """
    if earlier := recorded(directory, "threads"):
        return int(earlier)
    maximum = threads_per_job(1)
    if config.threads or device.type != "cpu":
        return config.threads or maximum
    return 1 if config.network.frozen or step_flops(config, train) < ONE_THREAD_FLOPS else maximum


def step_flops(config: TrainConfig, train: ImageSet) -> int:
    """Return the floating-point operations of convolutions and dense layers in the forward pass of one batch."""
    return forward_flops(config, train) * config.batch_size


@contextlib.contextmanager
def cpu_threads(threads: int) -> Iterator[None]:
    """Set torch's number of threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
