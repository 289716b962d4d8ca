"""The number of optimizer steps of a run, and a warning about runs that are too short for their method."""

import warnings
from collections.abc import Iterable

from common.plural import counted
from training.config import TrainConfig
from training.exact import exact_fraction
from training.method_config import MethodName

# a mentor learns little in shorter runs
MIN_STEPS: dict[MethodName, int] = {"mentornet": 500, "mentormix": 500}


def held_out_images(config: TrainConfig, images: int) -> int:
    """Return how many images of a training set `config.validation` holds out."""
    return round(exact_fraction(config.validation) * images)


def optimizer_steps(config: TrainConfig, images: int) -> int:
    """Return the optimizer steps of a run on a training set of `images`, from which some may be held out."""
    return config.epochs * ((images - held_out_images(config, images)) // config.batch_size)


def warn_of_short_runs(runs: Iterable[tuple[TrainConfig, int]]) -> None:
    """Warn once about the shortest of runs that are too short for their method; a run is given with its images.

    The warning points at the caller of the function that calls this one.
    """
    lengths = [(optimizer_steps(config, images), config.method) for config, images in runs]
    short = [(steps, method) for steps, method in lengths if is_short(method, steps)]
    if short:
        steps, method = min(short)
        warnings.warn(f"{short_run(method, steps)}; raise epochs or lower batch_size", stacklevel=3)


def is_short(method: MethodName, steps: int) -> bool:
    """Return whether a training of so many steps is too short for a method."""
    return steps < MIN_STEPS.get(method, 0)


def short_run(method: MethodName, steps: int) -> str:
    """Return what is wrong with a training that is too short for its method."""
    return (
        f"a run of {counted(steps, 'step')} is short for {method}, which needs at least {MIN_STEPS[method]} to learn "
        "which labels to trust"
    )
