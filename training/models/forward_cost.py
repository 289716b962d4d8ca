"""A forward pass of an untrained network on one image: whether it takes images of this size, and what it costs."""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import UsageError
from training.config import NetworkConfig, TrainConfig
from training.data.shards import ImageSet
from training.features.vectors import FeatureVectors
from training.models.freezing import freeze_before, train_mode
from training.models.registry import make_network


def check_image_size(config: TrainConfig, data: ImageSet) -> None:
    """Raise UsageError if the images of a set are smaller than the crop, or if the network does not take crops of this size."""
    if not isinstance(data.images, FeatureVectors):
        forward_flops(config, data)


def check_batch_parts(config: TrainConfig, data: ImageSet) -> None:
    """Raise UsageError if the parts of a batch are single images, and the network cannot be trained on one at a time.

    Batch norm needs more than one value of each channel.
    """
    if config.batch_size != config.accumulate or config.network.frozen:
        return
    network = make_network(config.network.untrained(), len(data.class_names), seed=0)
    freeze_before(network, config.network.train_from)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            train_mode(network)(torch.zeros(1, 3, *config.augment.input_size(data.images.size)))
    except ValueError as error:  # of batch norm
        raise UsageError(
            f"batch_size={config.batch_size}, accumulate={config.accumulate}: {config.network.name} cannot be trained on one "
            f"image at a time ({error}); set a larger batch_size, or a smaller accumulate"
        ) from error


def forward_flops(config: TrainConfig, data: ImageSet) -> int:
    """Return the floating-point operations of convolutions and dense layers in the forward pass of one image.

    Raises UsageError as `check_image_size` does.
    """
    size = config.augment.input_size(data.images.size)
    return _forward_flops(config.network.untrained(), size, len(data.class_names))


@lru_cache(maxsize=64)
def _forward_flops(config: NetworkConfig, size: tuple[int, int], classes: int) -> int:
    counts: list[int] = []

    def count(layer: nn.Module, _inputs: Any, out: Tensor) -> None:
        assert isinstance(layer.weight, Tensor)
        counts.append(2 * out.numel() * layer.weight[0].numel())

    # torch.utils.flop_counter and the meta device take a second to import
    network = make_network(config, classes, seed=0).eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    height, width = size
    try:
        with torch.inference_mode():
            network(torch.zeros(1, 3, height, width))
    except (AssertionError, IndexError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"network.name: {config.name} does not take images of {width}×{height} pixels ({error}); set augment.resize, or "
            "another network.name"
        ) from error
    return sum(counts)
