"""Train one configuration: compute features if frozen, select the weight decay, then run the trainer."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from common.config import merge
from training.callbacks import ignore_row, never_stop
from training.config import TrainConfig
from training.data.shards import RESIDENT_BYTES, ImageSet, load_pair, read_manifest
from training.distributed import Processes
from training.features.extract import with_features
from training.features.vectors import FeatureVectors
from training.loggers import Loggers
from training.models.forward_cost import check_batch_parts, check_image_size
from training.precision import choose_precision
from training.recipes.default import resolve_recipe
from training.recipes.registry import configure
from training.run_directory import check_folder, check_unlocked, describe, read_result
from training.threads import choose_threads, cpu_threads
from training.trainer import Trainer
from training.weight_decay_selection import WEIGHT_DECAY_ACCURACIES, select_weight_decay


def prepare_run(
    folder: Path,
    set_name: str,
    test: str,
    recipe: str,
    overrides: Mapping[str, Any],
    device: torch.device,
    resident_bytes: int = RESIDENT_BYTES,
) -> tuple[TrainConfig, tuple[ImageSet, ImageSet], str]:
    """Return the configuration of a run on a set, its training and test set, and why its recipe was chosen, if it was.

    `overrides` replace values of the recipe. `resident_bytes`: as in `load_sets`. Raises DataError for an unreadable set,
    UsageError for a wrong configuration.
    """
    manifest, _ = read_manifest(folder / set_name)
    gpu = device.type == "cuda"
    name, changes, why = resolve_recipe(recipe, manifest.about, manifest.rows, overrides, gpu=gpu)
    config = configure(name, manifest.about["noise_level"], merge(changes, overrides))
    sets = load_sets(folder, set_name, test, frozen=config.network.frozen, resident_bytes=resident_bytes)
    return config, sets, why


def load_sets(
    folder: Path, set_name: str, test: str, *, frozen: bool, resident_bytes: int = RESIDENT_BYTES
) -> tuple[ImageSet, ImageSet]:
    """Open the training and the test set of a run.

    Images are decoded into memory if a set takes at most `resident_bytes`, but not those of a frozen network, which reads
    each image only once. Raises DataError for an unreadable set.
    """
    return load_pair(folder, set_name, test, 0 if frozen else resident_bytes)


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
    stop: Callable[[], bool] = never_stop,
    log: Callable[[Mapping[str, Any]], object] = ignore_row,
    loggers: Loggers | None = None,
    shared_choices: Path | None = None,
) -> dict[str, Any]:
    """Train `config` in `directory` and return the content of result.json, as `Trainer.run` does.

    `features`: folder for the features of frozen networks, which are not computed for sets that have feature vectors instead
    of images. `loggers` receive the metrics of each epoch, as `log` does, and the result. `shared_choices`: file of the
    precision that runs with the same network share (`choose_precision`). Raises UsageError for a network that does not take
    images of this size, and the exceptions of `Trainer.run` and `with_features`.
    """
    description, about = describe(config, train, test), dict[str, Any]()
    if not processes or processes.rank == 0:
        check_folder(directory, description, resume)  # now, not after features and trials that take hours
    if finished := read_result(directory):
        return finished
    if not processes or processes.rank == 0:
        check_unlocked(directory)
    check_image_size(config, train)
    check_batch_parts(config, train)
    threads = choose_threads(config, train, directory, device)
    with cpu_threads(threads):
        precision = choose_precision(config, train, directory, device, shared_choices)
    if processes and processes.size > 1:  # each has measured for itself
        precision = "bf16" if processes.any(precision == "bf16" and processes.rank == 0, device) else "fp32"
    config = replace(config, precision=precision)
    description |= {"threads": threads, "precision": precision}
    if config.network.frozen and not isinstance(train.images, FeatureVectors):
        # on all threads, since features do not depend on their number
        train, test = with_features(config, (train, test), features, device, progress=progress, stop=stop)
    with cpu_threads(threads):
        if config.optimizer.weight_decays:
            config, accuracies = select_weight_decay(
                config, train, directory, device, processes or Processes(), stop, progress=progress
            )
            about[WEIGHT_DECAY_ACCURACIES] = description[WEIGHT_DECAY_ACCURACIES] = accuracies
        trainer = Trainer(config, train, test, device, processes, description=description, about=about)
        return _train_with_loggers(
            trainer, directory, loggers or Loggers(), log, resume=resume, progress=progress, stop=stop
        )


def _train_with_loggers(
    trainer: Trainer,
    directory: Path,
    loggers: Loggers,
    log: Callable[[Mapping[str, Any]], object],
    **options: Any,
) -> dict[str, Any]:
    """Train, and pass metrics and result to the loggers."""
    result = None

    def log_row(row: Mapping[str, Any]) -> None:
        loggers.log(directory, trainer.description, row)
        log(row)

    try:
        result = trainer.run(directory, log=log_row, **options)
    finally:
        loggers.finish(result)
    return result
