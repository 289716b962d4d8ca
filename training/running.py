"""A training run from its configuration and sets to its result: features, weight decay, training."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from training.config import TrainConfig
from training.data.shards import ImageSet
from training.features.extract import with_features
from training.loggers import Loggers
from training.run_directory import describe, open_run, read_result
from training.selection import validation_accuracies, with_weight_decay
from training.trainer import Trainer
from training.world import World


def run_training(
    config: TrainConfig,
    train: ImageSet,
    test: ImageSet,
    directory: Path,
    *,
    device: torch.device,
    features: Path,
    world: World | None = None,
    resume: bool = False,
    progress: bool = False,
    stop: Callable[[], bool] = bool,
    log: Callable[[Mapping[str, Any]], object] = dict,
    loggers: Loggers | None = None,
) -> dict[str, Any]:
    """Train `config` in `directory` and return what result.json holds, as `Trainer.run` does.

    `features`: folder of the features of frozen networks; `loggers`: get each epoch's metrics, as `log` does, and the
    result. Raises what `Trainer` and `with_features` raise.
    """
    description, about = describe(config, train, test), dict[str, Any]()
    if finished := read_result(directory):
        open_run(directory, description, resume)
        return finished
    if config.network.frozen:
        train, test = with_features(config, (train, test), features, device, progress=progress, stop=stop)
    if config.optimizer.weight_decays:
        accuracies = validation_accuracies(config, train, device, stop)
        best = max(accuracies, key=lambda decay: (accuracies[decay], decay))
        config = with_weight_decay(config, best)
        about["weight_decay_accuracies"] = {f"{decay:g}": share for decay, share in accuracies.items()}
    trainer = Trainer(config, train, test, device, world, description=description, about=about)
    follow = loggers or Loggers()
    result = None

    def hand_on(row: Mapping[str, Any]) -> None:
        follow.log(directory, description, row)
        log(row)

    try:
        result = trainer.run(directory, resume=resume, progress=progress, stop=stop, log=hand_on)
    finally:
        follow.finish(result)
    return result
