"""How many threads a run on a CPU computes with: part of what the run is, since the last bits may depend on it."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.config import TrainConfig
from training.data.shards import ImageSet
from training.device import available_cores
from training.models.registry import make_network
from training.run_directory import CONFIG, read_description

# Forward operations of a batch below which a second thread mostly waits: some 50 ms of a step. On a busy machine it
# waits actively: a step of the small CNN took 6 to 57 times the CPU time with two threads (docs/explanation/methods.md).
ONE_THREAD_FLOPS = 2e9


def choose_threads(config: TrainConfig, train: ImageSet, directory: Path, device: torch.device) -> int:
    """Return the threads of a run: those that it began with, or config.threads, or as many as help its network.

    At most as many as torch would use now, which is what OMP_NUM_THREADS or a study with several jobs says.
    """
    if recorded := _recorded(directory):
        return recorded
    most = min(torch.get_num_threads(), available_cores())
    if config.threads or device.type != "cpu":
        return config.threads or most
    return 1 if config.network.frozen or step_flops(config, train) < ONE_THREAD_FLOPS else most


def step_flops(config: TrainConfig, train: ImageSet) -> int:
    """Count the operations of convolutions and dense layers in a forward pass of one batch, by that of one picture."""
    height, width = train.images.size
    augment = config.augment
    size = (augment.size or augment.resize or height, augment.size or augment.resize or width)
    counts: list[int] = []

    def count(layer: nn.Module, _inputs: Any, out: Tensor) -> None:
        assert isinstance(layer.weight, Tensor)
        counts.append(2 * out.numel() * layer.weight[0].numel())

    # torch.utils.flop_counter counts more, and takes a second to import, with triton; so does the meta device
    network = make_network(replace(config.network, weights=""), len(train.class_names), seed=0).eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    with torch.inference_mode():
        network(torch.zeros(1, 3, *size))
    return sum(counts) * config.batch_size


@contextlib.contextmanager
def cpu_threads(threads: int) -> Iterator[None]:
    """Inside the block torch computes with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _recorded(directory: Path) -> int | None:
    """The threads that the run in a folder began with, if there is one."""
    path = directory / CONFIG
    if not path.is_file():
        return None
    threads = read_description(directory).get("threads")
    return int(threads) if threads else None
