"""Select the weight decay by accuracy on held-out training images with their given labels."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from training.callbacks import never_stop
from training.config import TrainConfig
from training.data.shards import ImageSet
from training.trainer import Trainer, hold_out

HELD_OUT = 0.1  # share of the training set if `validation` is 0


def validation_accuracies(
    config: TrainConfig,
    train: ImageSet,
    device: torch.device,
    stop: Callable[[], bool] = never_stop,
    *,
    progress: bool = False,
) -> dict[float, float]:
    """Return the accuracy of each of `optimizer.weight_decays` on held-out images with their given labels.

    Raises KeyboardInterrupt if `stop()` returns true.
    """
    split = replace(config, validation=config.validation or HELD_OUT)
    held_out, rest = hold_out(train, split)
    assert held_out is not None
    accuracies = {}
    for decay in config.optimizer.weight_decays:
        trial = replace(with_weight_decay(config, decay), validation=0.0, evaluate_every=config.epochs)
        with tempfile.TemporaryDirectory() as folder:
            result = Trainer(trial, rest, held_out, device).run(
                Path(folder), stop=stop, progress=progress, title=f"trial of weight decay {decay:g}"
            )
        accuracies[decay] = result["final_accuracy"]
    return accuracies


def with_weight_decay(config: TrainConfig, decay: float) -> TrainConfig:
    """Return the configuration with weight decay `decay` and without candidates."""
    return replace(config, optimizer=replace(config.optimizer, weight_decay=decay, weight_decays=()))
