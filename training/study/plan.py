"""What remains to be trained of a study, and an estimate of the time it takes."""

import math
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from common.errors import DataError
from common.plural import counted
from training import metrics
from training.data.shards import RESIDENT_BYTES, ImageSet
from training.device import choose_device
from training.features.extract import with_random_features
from training.progress import duration
from training.run_directory import read_result
from training.study.grid import Run
from training.study.run_state import FINISHED, STATES, read_state, run_folder
from training.train import load_sets, run_training
from training.weight_decay_selection import with_weight_decay

MEASURED_STEPS = (2, 8)  # in each of three timed epochs; 8 if these take less than SECONDS_TO_MEASURE
SECONDS_TO_MEASURE = 10.0

CostKey = tuple[Any, ...]  # see cost_key
Costs = dict[CostKey, tuple[float | None, str]]  # seconds per image and epoch, and what they come from


@dataclass(frozen=True)
class ConfigurationCost:
    """The cost of the unfinished runs of one configuration: their mean seconds, and what that was estimated from.

    seconds_per_run: None if unknown. basis: "5 finished runs", "measured steps", or why there is no estimate.
    """

    method: str
    network: str
    epochs: int
    unfinished: int
    seconds_per_run: float | None
    basis: str

    def __str__(self) -> str:
        cost = "?" if self.seconds_per_run is None else duration(self.seconds_per_run)
        return (
            f"{self.method}, {self.network}, {counted(self.epochs, 'epoch')}: "
            f"{counted(self.unfinished, 'run')} of about {cost} ({self.basis})"
        )


@dataclass(frozen=True)
class Plan:
    """The number of runs in each state, and the seconds that the rest takes one job; None if unknown."""

    runs: int
    states: dict[str, int]
    seconds_left: float | None
    configurations: tuple[ConfigurationCost, ...] = ()

    @property
    def unfinished(self) -> int:
        """Number of runs that have not finished."""
        return self.runs - self.states[FINISHED]

    def details(self) -> str:
        """Return the counts and a line per configuration that has unfinished runs."""
        return "\n".join([str(self), *(f"  {configuration}" for configuration in self.configurations)])

    def __str__(self) -> str:
        states = ", ".join(f"{count} {state}" for state, count in self.states.items() if count)
        left = (
            ""
            if self.seconds_left is None or not self.unfinished
            else f"; about {duration(self.seconds_left)} left for one job"
        )
        return f"{counted(self.runs, 'run')}{states and f': {states}'}{left}"


def make_plan(
    runs: Iterable[Run],
    output: Path,
    data: Path,
    test: str,
    *,
    measure: bool,
    costs: Costs | None = None,
    resident_bytes: int = RESIDENT_BYTES,
) -> Plan:
    """Count the runs by state, and estimate the time left from finished runs of equal cost.

    If `measure`, a few steps are timed where no run of equal cost has finished; otherwise there is no estimate then.
    `costs`: costs that an earlier call has measured, to which this one adds. `resident_bytes`: as in `load_sets`. Of a run that
    has begun, the epochs that are left count.
    """
    unique = {run.name: run for run in runs}
    states = {name: read_state(output, name) for name in unique}
    unfinished = [run for name, run in unique.items() if states[name] != FINISHED]
    costs = {} if costs is None else costs
    costs |= _costs_of_finished([run for name, run in unique.items() if states[name] == FINISHED], output)
    if measure:
        _measure_missing(costs, unfinished, data, test, resident_bytes)
    left = None
    if all(costs.get(cost_key(run), _UNKNOWN)[0] is not None for run in unfinished):
        left = sum(_seconds(run, costs) * (1 - _share_done(run, output)) for run in unfinished)
    counts = Counter(states.values())
    return Plan(
        len(unique), {state: counts[state] for state in STATES}, left, _by_configuration(unfinished, costs)
    )


_UNKNOWN = (None, "no run has finished")


def _costs_of_finished(runs: Iterable[Run], output: Path) -> Costs:
    """Return the median cost of finished runs."""
    seconds: dict[CostKey, list[float]] = defaultdict(list)
    for run in runs:
        if result := read_result(run_folder(output, run.name)):
            seconds[cost_key(run)].append(result["seconds"] / (run.images * run.config.epochs))
    return {
        key: (statistics.median(values), f"{len(values)} finished run{'s' if len(values) > 1 else ''}")
        for key, values in seconds.items()
    }


def _measure_missing(
    costs: Costs, unfinished: Iterable[Run], data: Path, test: str, resident_bytes: int
) -> None:
    """Add the costs of configurations without a finished run, from a few steps of each."""
    unmeasured: dict[CostKey, Run] = {}
    for run in unfinished:
        if (key := cost_key(run)) not in costs:
            unmeasured.setdefault(key, run)
    if unmeasured:
        number = len(unmeasured)
        print(f"timing a few steps of {counted(number, 'configuration')}", file=sys.stderr, flush=True)
    sets: dict[tuple[str, bool], tuple[ImageSet, ImageSet]] = {}
    for key, run in unmeasured.items():
        frozen = run.config.network.frozen
        opened = run.set_name, frozen
        try:
            if opened not in sets:
                sets = {
                    opened: load_sets(data, run.set_name, test, frozen=frozen, resident_bytes=resident_bytes)
                }
            costs[key] = _measure_seconds_per_image(run, sets[opened]), "measured steps"
        except Exception as error:  # training such a run reports it; here it only has no estimate
            costs[key] = None, f"no estimate: {type(error).__name__}: {error}"


def _seconds(run: Run, costs: Costs) -> float:
    return (costs[cost_key(run)][0] or 0.0) * run.images * run.config.epochs


def _share_done(run: Run, output: Path) -> float:
    """Return the share of the epochs of an unfinished run that are done."""
    try:
        rows = metrics.read_rows(run_folder(output, run.name))
    except DataError:
        return 0.0
    return min(1.0, rows[-1]["epoch"] / run.config.epochs) if rows else 0.0


def _by_configuration(unfinished: Iterable[Run], costs: Costs) -> tuple[ConfigurationCost, ...]:
    groups: dict[tuple[CostKey, int], list[Run]] = defaultdict(list)
    for run in unfinished:
        groups[cost_key(run), run.config.epochs].append(run)
    result = []
    for (key, epochs), runs in groups.items():
        cost, basis = costs.get(key, _UNKNOWN)
        mean = None if cost is None else statistics.fmean(_seconds(run, costs) for run in runs)
        config = runs[0].config
        result.append(ConfigurationCost(config.method, config.network.name, epochs, len(runs), mean, basis))
    return tuple(result)


def cost_key(run: Run) -> CostKey:
    """Return what decides the cost of an image in an epoch of a run."""
    config = run.config
    network = config.network
    return (
        config.method, network.name, network.width, network.frozen, network.train_from,
        config.augment, config.batch_size, config.precision, config.compile,
        config.evaluation_interval, config.memorized_every, len(config.optimizer.weight_decays),
    )  # fmt: skip


def _measure_seconds_per_image(run: Run, sets: tuple[ImageSet, ImageSet]) -> float:
    """Return the seconds of a run per image and epoch. Short steps are timed again, in greater number, since they vary more."""
    few, more = MEASURED_STEPS
    seconds = _time_epochs(run, sets, few)
    if seconds * run.config.batch_size * more * 3 < SECONDS_TO_MEASURE:
        seconds = _time_epochs(run, sets, more)
    return seconds


def _time_epochs(run: Run, sets: tuple[ImageSet, ImageSet], steps: int) -> float:
    """Return the seconds of a run per image and epoch, from three epochs of `steps` steps in a temporary folder.

    The first epoch warms up, the second trains, the third also measures accuracy, which the run does less often. A head on
    a frozen network is timed on random vectors: the time that the features take is not part of the estimate.
    """
    (train, test), config = sets, run.config
    rows = torch.arange(config.batch_size * steps)
    short_sets = train.take(rows % len(train)), test.take(rows % len(test))
    short = replace(
        config, epochs=3, evaluate_every=3, memorized_every=3, validation=0.0,
        dividemix=replace(config.dividemix, warmup_epochs=1),
    )  # fmt: skip
    short = with_weight_decay(short, config.optimizer.weight_decay)
    if config.network.frozen:
        short_sets = with_random_features(config, short_sets)
        short = replace(short, precision="fp32")  # `auto` would time the frozen network
    epoch_ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as features:
        run_training(
            short,
            *short_sets,
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
