"""Networks by name."""

from collections.abc import Callable
from difflib import get_close_matches

import torch
from torch import nn

from schemas.errors import UsageError
from training.config import Network
from training.models.preact_resnet import PreActResNet18
from training.models.small_cnn import SmallCNN
from training.models.wide_resnet import WideResNet32
from training.randomness import key

NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {
    "preact_resnet18": PreActResNet18,
    "wide_resnet32": WideResNet32,
    "small_cnn": SmallCNN,
}


def make_network(config: Network, classes: int, seed: int, number: int = 0) -> nn.Module:
    """Build the network with initial weights that depend on `seed` and `number` alone, on the CPU, channels-last.

    Raises UsageError for a name that is not known, DataError for weights that do not fit.
    """
    from_library = config.name.startswith(("torchvision/", "timm/"))
    if config.weights and not from_library:
        raise UsageError(
            f"network.weights: {config.name} starts from scratch; name a torchvision/ or timm/ one"
        )
    if config.name not in NETWORKS and not from_library:
        near = get_close_matches(config.name, NETWORKS, n=1, cutoff=0.3)
        hint = (
            f"did you mean {near[0]!r}?"
            if near
            else f"known: {', '.join(NETWORKS)}, torchvision/NAME, timm/NAME"
        )
        raise UsageError(f"network.name: unknown network {config.name!r}; {hint}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(seed, number, "weights"))
        if from_library:
            from training.models.library import library_network  # torchvision takes a second to import

            network = library_network(config.name, config.weights, classes)
        else:
            network = NETWORKS[config.name](config.width, classes)
    return network.to(memory_format=torch.channels_last)
