"""What remains to be trained of a study, and an estimate of the time it takes."""

import math
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from training.config import AugmentConfig, NetworkConfig
from training.data.shards import ImageSet, load_pair
from training.device import choose_device
from training.run_directory import read_result
from training.study.grid import Run
from training.study.run_state import FINISHED, STATES, read_state, run_folder
from training.train import run_training
from training.weight_decay_selection import with_weight_decay

MEASURED_STEPS = 8  # of each epoch that is timed

CostKey = tuple[str, NetworkConfig, AugmentConfig, int]  # method, network, augmentation and batch size


@dataclass(frozen=True)
class Plan:
    """The number of runs in each state, and the seconds that the rest takes one job; None if unknown."""

    runs: int
    states: dict[str, int]
    seconds_left: float | None

    @property
    def unfinished(self) -> int:
        """Number of runs that have not finished."""
        return self.runs - self.states[FINISHED]

    def __str__(self) -> str:
        states = ", ".join(f"{count} {state}" for state, count in self.states.items() if count)
        left = "" if self.seconds_left is None else f"; about {duration(self.seconds_left)} left for one job"
        return f"{self.runs} runs: {states}{left}"


def duration(seconds: float) -> str:
    """Format a duration in seconds, minutes or hours."""
    minutes, hours = seconds / 60, seconds / 3600
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes:.0f} min" if minutes < 90 else f"{hours:.1f} h"


def make_plan(runs: Iterable[Run], output: Path, data: Path, test: str, *, measure: bool) -> Plan:
    """Count the runs by state, and estimate the time left from finished runs of equal cost.

    If `measure`, a few steps are timed where no run of equal cost has finished; otherwise there is no estimate then.
    A run with a checkpoint counts in full.
    """
    unique = {run.name: run for run in runs}
    states = {name: read_state(output, name) for name in unique}
    seconds_per_image: dict[CostKey, list[float]] = defaultdict(list)
    for name, run in unique.items():
        if result := read_result(run_folder(output, name)):
            seconds_per_image[cost_key(run)].append(result["seconds"] / (run.images * run.config.epochs))
    unfinished = [run for name, run in unique.items() if states[name] != FINISHED]
    sets: dict[str, tuple[ImageSet, ImageSet]] = {}
    for run in unfinished if measure else ():
        if cost_key(run) not in seconds_per_image:
            if run.set_name not in sets:
                sets = {run.set_name: load_pair(data, run.set_name, test)}
            seconds_per_image[cost_key(run)] = [_measure_seconds_per_image(run, sets[run.set_name])]
    left = None
    if all(cost_key(run) in seconds_per_image for run in unfinished):
        left = sum(
            statistics.median(seconds_per_image[cost_key(run)]) * run.images * run.config.epochs
            for run in unfinished
        )
    counts = Counter(states.values())
    return Plan(len(unique), {state: counts[state] for state in STATES}, left)


def cost_key(run: Run) -> CostKey:
    """Return what decides the cost of a step of a run."""
    config = run.config
    return config.method, config.network, config.augment, config.batch_size


def _measure_seconds_per_image(run: Run, sets: tuple[ImageSet, ImageSet]) -> float:
    """Return the seconds of a run per image and epoch, from three short epochs in a temporary folder.

    The first epoch warms up, the second trains, the third also measures accuracy, which the run does less often.
    """
    (train, test), config = sets, run.config
    rows = torch.arange(config.batch_size * MEASURED_STEPS)
    short = replace(
        config, epochs=3, evaluate_every=3, memorized_every=3, validation=0.0,
        dividemix=replace(config.dividemix, warmup_epochs=1),
    )  # fmt: skip
    short = with_weight_decay(short, config.optimizer.weight_decay)
    epoch_ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as features:
        run_training(
            short,
            train.take(rows % len(train)),
            test.take(rows % len(test)),
            Path(folder),
            device=choose_device(),
            features=Path(features),
            log=lambda _: epoch_ends.append(time.monotonic()),
        )
    first, second, third = epoch_ends
    training, evaluating = second - first, max(0.0, third - second - (second - first))
    # at the end the test set is evaluated with averaged weights and without
    final_passes = 2 if config.average_decay else 1
    evaluated = (math.ceil(config.epochs / config.evaluation_interval) + final_passes - 1) * len(test)
    evaluated += math.ceil(config.epochs / config.memorized_every) * run.images
    share = evaluated / (run.images * config.epochs) / (final_passes + 1)  # of what the third epoch evaluated
    trainings = 1 + len(config.optimizer.weight_decays)
    return (training + evaluating * share) / len(rows) * trainings
