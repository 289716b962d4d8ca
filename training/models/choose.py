"""Networks by name."""

from collections.abc import Callable
from difflib import get_close_matches

import torch
from torch import nn

from schemas.errors import UsageError
from training.config import Network
from training.models.preact_resnet import PreActResNet18
from training.models.small_cnn import SmallCNN
from training.randomness import key

NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {
    "preact_resnet18": PreActResNet18,
    "small_cnn": SmallCNN,
}


def make_network(config: Network, classes: int, seed: int, number: int = 0) -> nn.Module:
    """Build the network with initial weights that depend on `seed` and `number` alone, on the CPU, channels-last.

    Raises UsageError for a name that is not known.
    """
    if config.name not in NETWORKS:
        near = get_close_matches(config.name, NETWORKS, n=1, cutoff=0.3)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(NETWORKS)}"
        raise UsageError(f"network.name: unknown network {config.name!r}; {hint}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(seed, number, "weights"))
        network = NETWORKS[config.name](config.width, classes)
    return network.to(memory_format=torch.channels_last)
