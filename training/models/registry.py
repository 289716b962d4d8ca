"""Networks by name."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path

import torch
from torch import Tensor, nn

from common.errors import UsageError
from training.checkpoint import restore
from training.config import NetworkConfig
from training.models.efficientnet_lite import VARIANTS, EfficientNetLite
from training.models.linear_head import LinearHead
from training.models.preact_resnet import PreActResNet18
from training.models.small_cnn import SmallCNN
from training.models.weights import PRETRAINED, fill_network, load_weights
from training.models.wide_resnet import WideResNet32
from training.randomness import derive_seed

NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {
    "preact_resnet18": PreActResNet18,
    "wide_resnet32": WideResNet32,
    "small_cnn": SmallCNN,
    # the name determines the width
    **{name: lambda _width, classes, name=name: EfficientNetLite(name, classes) for name in VARIANTS},  # type: ignore[misc]
}


def make_head(vectors: Tensor, classes: int, seed: int, number: int = 0) -> LinearHead:
    """Build a linear head for features float32 [N, C] of a training set; initial weights depend on `seed` and `number`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, number, "weights"))
        head = LinearHead(vectors.shape[1], classes)
    head.fit_scale(vectors.cpu())
    return head


def check_network_name(name: str) -> None:
    """Raise UsageError for an unknown name of a network, or if its library is not installed."""
    if _is_of_library(name):
        from training.models.library import check_library_name  # torchvision takes a second to import

        check_library_name(name)
    elif name not in NETWORKS:
        nearest = get_close_matches(name, NETWORKS, n=1, cutoff=0.3)
        hint = (
            f"did you mean {nearest[0]!r}?"
            if nearest
            else f"known networks: {', '.join(NETWORKS)}, torchvision/NAME, timm/NAME"
        )
        raise UsageError(f"network.name: unknown network {name!r}; {hint}")


def _is_of_library(name: str) -> bool:
    return name.startswith(("torchvision/", "timm/"))


def make_network(config: NetworkConfig, classes: int, seed: int, number: int = 0) -> nn.Module:
    """Build a network on the CPU, channels-last, with initial weights that depend only on `seed` and `number`.

    `number` counts the networks of a method. Raises UsageError for an unknown name, DataError for weights that do not
    fit.
    """
    check_network_name(config.name)
    from_library = _is_of_library(config.name)
    if config.weights == PRETRAINED and not from_library:
        raise UsageError(
            f"network.weights={PRETRAINED}: {config.name} has no pretrained weights to download; set network.weights to a "
            "file of weights, or network.name to a torchvision/ or timm/ network (docs/how-to/train.md)"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, number, "weights"))
        if from_library:
            from training.models.library import library_network

            network = library_network(config.name, config.weights, classes)
        else:
            network = NETWORKS[config.name](config.width, classes)
            if config.weights:
                fill_network(network, load_weights(config.weights, config.name), config.weights)
    return network.to(memory_format=torch.channels_last)


def trained_network(
    config: NetworkConfig, classes: int, tensors: Mapping[str, Tensor], path: Path, remedy: str
) -> nn.Module:
    """Build a network whose weights are all in `tensors`, read from `path`; those of `config.weights` are not needed.

    Raises UsageError for an unknown name, DataError with `remedy` for tensors that do not fit, before a network of a huge
    width takes memory.
    """
    if config.name in NETWORKS:
        with torch.device("meta"):
            shapes = make_network(config.untrained(), classes, seed=0).state_dict()
        restore(shapes, tensors, path, remedy)
    network = make_network(config.untrained(), classes, seed=0)
    if config.weights and config.name not in NETWORKS:
        from training.models.library import rescaled

        network = rescaled(network, config.name)
    restore(network.state_dict(), tensors, path, remedy)
    return network
