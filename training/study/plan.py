"""What there is to do in a study, and how long it will take."""

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
from training.study import claims
from training.study.grid import Run
from training.train import run_training
from training.weight_decay_selection import with_weight_decay

WAITING = "waiting"
STATES = (claims.FINISHED, claims.TRAINING, claims.STOPPED, claims.FAILED, WAITING)
MEASURED_STEPS = 8  # of an epoch that is measured

Kind = tuple[
    str, NetworkConfig, AugmentConfig, int
]  # with method and batch: what an image costs goes by these


@dataclass(frozen=True)
class Plan:
    """How many runs are in which state, and the seconds that are left for one process; None if it is not known."""

    runs: int
    states: dict[str, int]
    seconds_left: float | None

    def __str__(self) -> str:
        states = ", ".join(f"{count} {state}" for state, count in self.states.items() if count)
        left = "" if self.seconds_left is None else f"; about {duration(self.seconds_left)} for one process"
        return f"{self.runs} runs: {states}{left}"


def duration(seconds: float) -> str:
    """Say a time as people do."""
    minutes, hours = seconds / 60, seconds / 3600
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes:.0f} min" if minutes < 90 else f"{hours:.1f} h"


def make_plan(runs: Iterable[Run], output: Path, data: Path, test: str, *, measure: bool) -> Plan:
    """Count the runs by state, and estimate the time left from finished runs of the same method and network.

    If `measure`, kinds of run of which none has finished are timed for a few steps; otherwise a study that has such
    kinds is not estimated. A run under way counts in full.
    """
    unique = {run.name: run for run in runs}
    states = {name: state(output, name) for name in unique}
    times: dict[Kind, list[float]] = defaultdict(list)
    for name, run in unique.items():
        if result := read_result(claims.finished_folder(output, name)):
            times[kind(run)].append(result["seconds"] / (run.images * run.config.epochs))
    todo = [run for name, run in unique.items() if states[name] != claims.FINISHED]
    sets: dict[str, tuple[ImageSet, ImageSet]] = {}
    for run in todo if measure else ():
        if kind(run) not in times:
            if run.split not in sets:
                sets = {run.split: load_pair(data, run.split, test)}
            times[kind(run)] = [_seconds_per_image(run, sets[run.split])]
    left = None
    if all(kind(run) in times for run in todo):
        left = sum(statistics.median(times[kind(run)]) * run.images * run.config.epochs for run in todo)
    counts = Counter(states.values())
    return Plan(len(unique), {name: counts[name] for name in STATES}, left)


def state(output: Path, name: str) -> str:
    """Say where a run stands: finished, training (somebody has it), stopped, failed, or waiting."""
    if claims.is_finished(output, name):
        return claims.FINISHED
    number, claim = claims.latest(output, name)
    last = claim.get("state", claims.TRAINING) if number else WAITING
    if last == claims.TRAINING and claims.is_gone(claim):
        return claims.STOPPED
    return last if last in STATES[1:] else WAITING


def kind(run: Run) -> Kind:
    """Return what the cost of a run's step goes by."""
    config = run.config
    return config.method, config.network, config.augment, config.batch_size


def _seconds_per_image(run: Run, sets: tuple[ImageSet, ImageSet]) -> float:
    """Seconds of a run by its images and epochs, from three short epochs in a folder that is thrown away.

    The first warms up, the second trains, the third also measures accuracy, which the run does now and then.
    """
    (train, test), config = sets, run.config
    rows = torch.arange(config.batch_size * MEASURED_STEPS)
    short = replace(
        config, epochs=3, evaluate_every=3, memorized_every=3, validation=0.0,
        dividemix=replace(config.dividemix, warmup_epochs=1),
    )  # fmt: skip
    short = with_weight_decay(short, config.optimizer.weight_decay)
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as features:
        run_training(
            short,
            train.take(rows % len(train)),
            test.take(rows % len(test)),
            Path(folder),
            device=choose_device(),
            features=Path(features),
            log=lambda _: ends.append(time.monotonic()),
        )
    first, second, third = ends
    training, looking = second - first, max(0.0, third - second - (second - first))
    passes = (
        2 if config.average_decay else 1
    )  # over the test set at the end: with averaged weights, and without
    looks = (math.ceil(config.epochs / config.evaluation_interval) + passes - 1) * len(test)
    looks += math.ceil(config.epochs / config.memorized_every) * run.images
    share = looks / (run.images * config.epochs) / (passes + 1)  # of what the third epoch looked at
    trials = 1 + len(config.optimizer.weight_decays)
    return (training + looking * share) / len(rows) * trials
