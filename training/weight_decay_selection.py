"""Select the weight decay by accuracy on held-out training images with their given labels."""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from common.errors import DataError
from training.callbacks import never_stop
from training.config import TrainConfig
from training.data.shards import ImageSet
from training.distributed import Processes
from training.errors import DivergedError
from training.run_directory import recorded
from training.trainer import Trainer, hold_out

WEIGHT_DECAY_ACCURACIES = "weight_decay_accuracies"  # key of config.json and result.json
HELD_OUT = 0.1  # share of the training set if `validation` is 0


def select_weight_decay(
    config: TrainConfig,
    train: ImageSet,
    directory: Path,
    device: torch.device,
    processes: Processes,
    stop: Callable[[], bool] = never_stop,
    *,
    progress: bool = False,
) -> tuple[TrainConfig, dict[str, float]]:
    """Return the configuration with the weight decay of the best accuracy, and the accuracy of each candidate.

    A resumed run keeps the accuracies that config.json has. Several processes use the choice of the first one: the last
    bits of their trials may differ.
    """
    candidates = config.optimizer.weight_decays
    accuracies = _recorded_accuracies(directory, candidates)
    first = processes.rank == 0
    if not processes.any(first and accuracies is not None, device):
        # Each process trains all candidates; only the first says so.
        accuracies = validation_accuracies(config, train, device, stop, progress=progress and first)
    measured = accuracies or dict.fromkeys(candidates, 0.0)  # of another process than the first
    best = max(measured, key=lambda decay: (measured[decay], decay))
    chosen = [decay for decay in candidates if processes.any(first and decay == best, device)]
    return with_weight_decay(config, chosen[0]), {f"{decay:g}": share for decay, share in measured.items()}


def _recorded_accuracies(directory: Path, candidates: Sequence[float]) -> dict[float, float] | None:
    earlier = recorded(directory, WEIGHT_DECAY_ACCURACIES) or {}
    if {f"{decay:g}" for decay in candidates} != earlier.keys():
        return None
    return {decay: earlier[f"{decay:g}"] for decay in candidates}


def validation_accuracies(
    config: TrainConfig,
    train: ImageSet,
    device: torch.device,
    stop: Callable[[], bool] = never_stop,
    *,
    progress: bool = False,
) -> dict[float, float]:
    """Return the accuracy of each of `optimizer.weight_decays` on held-out images with their given labels.

    It is 0 where training diverges, as it may with the largest of them. Raises KeyboardInterrupt if `stop()` returns true,
    DataError if there are too few images to hold one out.
    """
    split = replace(config, validation=config.validation or HELD_OUT)
    held_out, rest = hold_out(train, split)
    if held_out is None:
        raise DataError(
            f"{train.name}: {split.validation:.3g} of {len(train)} images is not one image, so none is left to choose among "
            f"optimizer.weight_decays; add images, raise validation, or set optimizer.weight_decays=[] to train with "
            f"optimizer.weight_decay ({config.optimizer.weight_decay:g})"
        )
    accuracies = {}
    for decay in config.optimizer.weight_decays:
        trial = replace(with_weight_decay(config, decay), validation=0.0, evaluate_every=config.epochs)
        accuracies[decay] = 0.0
        with tempfile.TemporaryDirectory() as folder, suppress(DivergedError):
            result = Trainer(trial, rest, held_out, device).run(
                Path(folder), stop=stop, progress=progress, title=f"trial of weight decay {decay:g}"
            )
            accuracies[decay] = result["final_accuracy"]
    return accuracies


def with_weight_decay(config: TrainConfig, decay: float) -> TrainConfig:
    """Return the configuration with weight decay `decay` and without candidates."""
    return replace(config, optimizer=replace(config.optimizer, weight_decay=decay, weight_decays=()))
