"""Steps of two processes on one machine: torch's DistributedDataParallel beside our averaging of gradients, as ratio.

python -m benchmarks.two_processes

Both average the same gradients, and must give the same weights. The processes take turns with the two, on one thread
each, over gloo. Above 1, ours is faster.
"""

import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from training.config import NetworkConfig
from training.distributed import Processes, join_processes
from training.models.registry import make_network

CASES = (("small_cnn", 32, 32, 32), ("preact_resnet18", 16, 32, 8), ("preact_resnet18", 32, 16, 4))
"""Network, width, pixels, images per process."""
REPEATS = 20


def main() -> None:
    """Start the two processes, and wait for them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "CUDA_VISIBLE_DEVICES": ""}
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.two_processes"],
            env=os.environ | shared | {"RANK": rank, "LOCAL_RANK": rank},
        )
        for rank in ("0", "1")
    ]
    sys.exit(max(process.wait() for process in both))


def measure() -> None:
    """Print a line per case from the first of the two processes."""
    torch.set_num_threads(1)
    with join_processes() as (processes, _):
        for name, width, side, batch in CASES:
            ratios = _ratios(processes, NetworkConfig(name, width), side, batch)
            if processes.rank == 0:
                low, middle, high = statistics.quantiles(ratios, n=4)
                print(
                    f"{name} of width {width}, {batch} images of {side} pixels: DDP takes {middle:.2f} of the time of ours "
                    f"(quartiles {low:.2f} to {high:.2f})",
                    flush=True,
                )


def _ratios(processes: Processes, config: NetworkConfig, side: int, batch: int) -> Sequence[float]:
    """Return the time of a step with DDP divided by that of the step before with ours, for each repeat."""
    ours, peer = (make_network(config, 10, seed=0).train() for _ in range(2))
    wrapped = DistributedDataParallel(peer, forward_sync_buffers=False, gradient_as_bucket_view=True)
    images = torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(processes.rank))
    labels = torch.arange(batch) % 10
    ratios = []
    for repeat in range(REPEATS + 2):
        seconds = _step(ours, images, labels, processes), _step(wrapped, images, labels)
        if repeat >= 2:  # the first two warm up
            ratios.append(seconds[1] / seconds[0])
    for one, other in zip(ours.parameters(), peer.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6), "the two give other weights"
    return ratios


def _step(network: nn.Module, images: Tensor, labels: Tensor, processes: Processes | None = None) -> float:
    """Take a step of SGD, and return the seconds until all gradients are averaged."""
    started = time.perf_counter()
    cross_entropy(network(images), labels).backward()
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    if processes:
        processes.average_(gradients)
    seconds = time.perf_counter() - started
    with torch.no_grad():
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            parameter.sub_(gradient, alpha=0.01)
    network.zero_grad(set_to_none=False)
    return seconds


if __name__ == "__main__":
    if "RANK" in os.environ:
        measure()
    else:
        main()
