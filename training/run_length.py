"""The number of optimizer steps of a run, and a warning about runs that are too short for their method."""

import warnings
from collections.abc import Iterable

from training.config import TrainConfig
from training.exact import exact_fraction
from training.method_config import MethodName

MIN_STEPS: dict[MethodName, int] = {
    "mentornet": 500,
    "mentormix": 500,
}  # a mentor learns little in shorter runs


def held_out_images(config: TrainConfig, images: int) -> int:
    """Return how many images of a training set `config.validation` holds out."""
    return round(exact_fraction(config.validation) * images)


def optimizer_steps(config: TrainConfig, images: int) -> int:
    """Return the optimizer steps of a run on a training set of `images`, from which some may be held out."""
    return config.epochs * ((images - held_out_images(config, images)) // config.batch_size)


def warn_of_short_runs(runs: Iterable[tuple[TrainConfig, int]]) -> None:
    """Warn once about the shortest of runs that are too short for their method; a run is given with its images."""
    warn_of_few_steps((config.method, optimizer_steps(config, images)) for config, images in runs)


def warn_of_few_steps(runs: Iterable[tuple[MethodName, int]]) -> None:
    """Warn once about the shortest of runs that are too short; a run is given by its method and its steps."""
    short = [(steps, method) for method, steps in runs if steps < MIN_STEPS.get(method, 0)]
    if short:
        steps, method = min(short)
        warnings.warn(
            f"a run of {steps} step{'s' * (steps > 1)} is short for {method}, which needs at least {MIN_STEPS[method]} to learn "
            "which labels to trust; raise epochs or lower batch_size",
            stacklevel=3,
        )
