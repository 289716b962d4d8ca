"""Choose the weight decay on held-out training images and their given labels; nobody looks at clean ones."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from training.config import TrainConfig
from training.data.shards import ImageSet
from training.trainer import Trainer, hold_out

HELD_OUT = 0.1  # share of the training set, where the configuration holds out none


def validation_accuracies(
    config: TrainConfig, train: ImageSet, device: torch.device, stop: Callable[[], bool] = bool
) -> dict[float, float]:
    """Return the accuracy that each of `optimizer.weight_decays` reaches on held-out images and their given labels.

    Raises KeyboardInterrupt when stopped.
    """
    share = replace(config, validation=config.validation or HELD_OUT)
    held_out, rest = hold_out(train, share)
    assert held_out is not None
    found = {}
    for decay in config.optimizer.weight_decays:
        trial = replace(with_weight_decay(config, decay), validation=0.0, evaluate_every=config.epochs)
        with tempfile.TemporaryDirectory() as folder:
            result = Trainer(trial, rest, held_out, device).run(Path(folder), stop=stop)
        found[decay] = result["final_accuracy"]
    return found


def with_weight_decay(config: TrainConfig, decay: float) -> TrainConfig:
    """Return the configuration with one weight decay, and no candidates for it."""
    return replace(config, optimizer=replace(config.optimizer, weight_decay=decay, weight_decays=()))
