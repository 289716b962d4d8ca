"""A training run from its configuration and sets to its result: features, weight decay, training."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from training.config import TrainConfig
from training.data.shards import ImageSet
from training.distributed import Processes
from training.features.extract import with_features
from training.loggers import Loggers
from training.run_directory import describe, open_run, read_result
from training.threads import choose_threads, cpu_threads
from training.trainer import Trainer
from training.weight_decay_selection import validation_accuracies, with_weight_decay


def run_training(
    config: TrainConfig,
    train: ImageSet,
    test: ImageSet,
    directory: Path,
    *,
    device: torch.device,
    features: Path,
    processes: Processes | None = None,
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
    threads = choose_threads(config, train, directory, device)
    description |= {"threads": threads}
    if config.network.frozen:  # with all threads: features do not depend on their number
        train, test = with_features(config, (train, test), features, device, progress=progress, stop=stop)
    with cpu_threads(threads):
        if config.optimizer.weight_decays:
            accuracies = validation_accuracies(config, train, device, stop)
            best = max(accuracies, key=lambda decay: (accuracies[decay], decay))
            config = with_weight_decay(config, best)
            about["weight_decay_accuracies"] = {f"{decay:g}": share for decay, share in accuracies.items()}
        trainer = Trainer(config, train, test, device, processes, description=description, about=about)
        return _follow(
            trainer, directory, loggers or Loggers(), log, resume=resume, progress=progress, stop=stop
        )


def _follow(
    trainer: Trainer,
    directory: Path,
    loggers: Loggers,
    log: Callable[[Mapping[str, Any]], object],
    **how: Any,
) -> dict[str, Any]:
    """Train, and hand metrics and result to the loggers."""
    result = None

    def hand_on(row: Mapping[str, Any]) -> None:
        loggers.log(directory, trainer.description, row)
        log(row)

    try:
        result = trainer.run(directory, log=hand_on, **how)
    finally:
        loggers.finish(result)
    return result
