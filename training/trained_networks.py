"""Load the networks of a run from its newest checkpoint."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from training import checkpoint
from training.config import TrainConfig
from training.methods.registry import evaluated_networks
from training.models.linear_head import LinearHead
from training.models.registry import trained_network
from training.run_directory import read_config


@dataclass(frozen=True)
class TrainedNetworks:
    """Networks after `step` steps, whose logits are summed; with averaged weights if the run has them."""

    config: TrainConfig
    networks: list[nn.Module]
    step: int


def load_trained_networks(run: Path, classes: int, device: torch.device) -> TrainedNetworks:
    """Load the networks of a run; for a frozen network, the linear heads on its features.

    Raises DataError if there is no run or checkpoint, or for another number of classes.
    """
    config = read_config(run)
    tensors, state = checkpoint.load(run, device)
    networks = []
    for number in range(evaluated_networks(config.method)):
        weights = checkpoint.select_group(tensors, f"network{number}") | checkpoint.select_group(
            tensors, f"average{number}"
        )
        network: nn.Module
        if config.network.frozen:
            network = LinearHead(len(weights["mean"]), classes)
            checkpoint.restore(network.state_dict(), weights, run)
        else:
            network = trained_network(config.network, classes, weights, run, checkpoint.TRAIN_AGAIN)
        networks.append(network.to(device))
    return TrainedNetworks(config, networks, state["step"])
