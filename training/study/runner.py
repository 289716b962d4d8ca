"""Train the runs of a study, several at a time. A run that fails is recorded and does not stop the others."""

import functools
import multiprocessing
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path

import torch

from common.errors import DataError
from training.data.shards import RESIDENT_BYTES
from training.device import choose_device
from training.features.extract import FEATURES
from training.input_files import input_digests
from training.run_directory import CONFIG, check_inputs, read_description
from training.state_files import set_aside
from training.stop_signal import StopSignal
from training.study import run_state
from training.study.grid import Run
from training.threads import threads_per_job
from training.train import load_sets, run_training

PRECISION = "precision.json"  # name of the file of a study with the precision for each network
POLL_SECONDS = 0.5  # between two looks at worker processes, and at runs that another command trains
_load_sets = functools.lru_cache(maxsize=1)(load_sets)  # keeps the sets for the next run


class BudgetUsedUpError(Exception):
    """The time budget of the command is used up; the runs under way have saved checkpoints."""


@dataclass(frozen=True)
class StudyFolders:
    """What a worker process needs to know: dataset, name of the test set, study, and bytes of images to keep (`load_sets`)."""

    data: Path
    test: str
    output: Path
    resident_bytes: int = RESIDENT_BYTES


@dataclass
class _Pending:
    """Runs that are neither finished nor failed since the command started, by name."""

    output: Path
    runs: dict[str, Run]
    earlier_failures: dict[str, int | None] = field(init=False)

    def __post_init__(self) -> None:
        self.earlier_failures = {name: run_state.failure_time(self.output, name) for name in self.runs}

    def pop_ended(self) -> list[Run]:
        """Remove and return the runs that have finished or failed, in this command or in another."""
        return [self.runs.pop(name) for name in list(self.runs) if self._has_ended(name)]

    def _has_ended(self, name: str) -> bool:
        if run_state.is_finished(self.output, name):
            return True
        failed = run_state.failure_time(self.output, name)
        return failed is not None and failed != self.earlier_failures[name]


def run_all(
    runs: Iterable[Run],
    folders: StudyFolders,
    jobs: int,
    budget_used_up: Callable[[], bool] = lambda: False,
) -> Iterator[Run]:
    """Train the runs that have not finished, `jobs` at a time, in their order; yield each as it finishes or fails.

    Runs that failed in an earlier command are tried again. A run that another command on this machine trains is
    waited for, and resumed if that command is killed. The jobs share the cores evenly. Raises KeyboardInterrupt when
    stopped and BudgetUsedUpError when `budget_used_up()`, after the runs under way have saved checkpoints; if these
    were the last runs, and have ended instead, it raises neither. Raises DataError if a file of weights has changed since
    one of the runs.
    """
    runs = list(runs)
    for run in runs:
        _check_files(run, run_state.run_folder(folders.output, run.name))
    unfinished = {run.name: run for run in runs if not run_state.is_finished(folders.output, run.name)}
    pending = _Pending(folders.output, unfinished)
    train_pending = _train_in_this_process if jobs == 1 else functools.partial(_train_in_processes, jobs)
    with StopSignal() as stopped:

        def raise_if_stopped() -> None:
            if stopped():
                raise KeyboardInterrupt
            if budget_used_up():
                raise BudgetUsedUpError

        try:
            yield from train_pending(pending, folders, raise_if_stopped)
        except (KeyboardInterrupt, BudgetUsedUpError):
            yield from pending.pop_ended()  # a run under way may have ended instead of saving a checkpoint
            if pending.runs:
                raise


def _train_in_this_process(
    pending: _Pending, folders: StudyFolders, raise_if_stopped: Callable[[], None]
) -> Iterator[Run]:
    def stop() -> bool:
        try:
            raise_if_stopped()
        except (KeyboardInterrupt, BudgetUsedUpError):
            return True
        return False

    while pending.runs:
        trained = False
        for run in list(pending.runs.values()):
            if run.name not in pending.runs:  # another command has ended it
                continue
            raise_if_stopped()
            try:
                trained = train_run(run, folders, stop, progress=True) or trained
            except KeyboardInterrupt:
                raise_if_stopped()
                raise
            yield from pending.pop_ended()
        if not trained and pending.runs:
            time.sleep(POLL_SECONDS)


def _train_in_processes(
    jobs: int, pending: _Pending, folders: StudyFolders, raise_if_stopped: Callable[[], None]
) -> Iterator[Run]:
    """Train each run in a process of its own, so that one that dies is known by its run."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # torch is imported once, not by each process
    stopping = context.Event()
    threads = threads_per_job(jobs)
    processes: dict[str, BaseProcess] = {}
    try:
        while pending.runs:
            for name in [name for name, process in processes.items() if process.exitcode is not None]:
                _record_exit(name, processes.pop(name).exitcode or 0, folders.output)
            yield from pending.pop_ended()
            raise_if_stopped()
            for name, run in pending.runs.items():
                if len(processes) >= jobs:
                    break
                if name not in processes and not run_state.is_locked(folders.output, name):
                    arguments = (run, folders, threads, stopping)
                    processes[name] = context.Process(target=_train_in_worker, args=arguments)
                    processes[name].start()
            time.sleep(POLL_SECONDS)
    finally:
        stopping.set()
        for process in processes.values():
            process.join()


def _record_exit(name: str, exit_code: int, output: Path) -> None:
    """Record the failure of a run whose process was killed; raise RuntimeError for an error outside of the run."""
    if exit_code > 0:
        raise RuntimeError(f"the process of run {name} ended with an error, which is printed above")
    if exit_code < 0 and not run_state.is_finished(output, name):
        cause = f"its process was killed (signal {-exit_code}), perhaps for lack of memory; use fewer --jobs"
        run_state.record_failure(output, name, cause)


def _train_in_worker(run: Run, folders: StudyFolders, threads: int, stopping: Event) -> None:
    """Train one run until it ends, a signal arrives, or the command stops or dies, which cannot end its workers."""
    torch.set_num_threads(threads)
    parent = multiprocessing.parent_process()
    assert parent is not None
    with StopSignal() as signal, suppress(KeyboardInterrupt):
        lines = not sys.stderr.isatty()  # bars of several processes would overwrite each other
        train_run(
            run, folders, lambda: signal() or stopping.is_set() or not parent.is_alive(), progress=lines
        )


def train_run(run: Run, folders: StudyFolders, stop: Callable[[], bool], *, progress: bool = False) -> bool:
    """Train a run under its lock, from its checkpoint if it has one; return False if another process holds the lock.

    An exception of the run is recorded as its failure. Raises KeyboardInterrupt, after a checkpoint, when `stop()`.
    """
    output = folders.output
    with run_state.try_lock(output, run.name) as locked:
        if not locked or run_state.is_finished(output, run.name):
            return locked
        try:
            frozen, resident_bytes = run.config.network.frozen, folders.resident_bytes
            sets = _load_sets(
                folders.data, run.set_name, folders.test, frozen=frozen, resident_bytes=resident_bytes
            )
            if not run.name.endswith(run.config.digest(*(data.identity for data in sets))):
                raise DataError(
                    f"{run.set_name}: the set was built again after this study started; run the study again"
                )
            folder = run_state.run_folder(output, run.name)
            _set_aside_unreadable(folder)
            run_training(
                run.config,
                *sets,
                folder,
                device=choose_device(),
                features=output / FEATURES,
                shared_choices=output / PRECISION,
                resume=True,
                progress=progress,
                stop=stop,
            )
            run_state.clear_failure(output, run.name)
        except Exception as error:  # one run that fails must not end a study of many
            run_state.record_failure(output, run.name, _cause(error), traceback.format_exc())
    return True


def _cause(error: Exception) -> str:
    """Return why a run failed, with a remedy if the GPU is out of memory."""
    if isinstance(error, torch.OutOfMemoryError):
        return (
            f"the GPU is out of memory ({error}); use fewer --jobs or --resident-gb 0, which keep the finished runs, or add "
            "accumulate: 2 (or more) to overrides, which changes results, so that all runs are trained again"
        )
    return f"{type(error).__name__}: {error}"


def _check_files(run: Run, folder: Path) -> None:
    """Raise DataError if a file of weights has changed since a run, also a finished one: new results would not be comparable
    with its result."""
    digests = input_digests(run.config)
    if digests and not _damage(folder):
        check_inputs(folder, digests)


def _set_aside_unreadable(folder: Path) -> None:
    """Rename the folder of a run whose configuration is damaged, so that the run starts again."""
    if damage := _damage(folder):
        set_aside(folder, damage, "the run starts again")


def _damage(folder: Path) -> DataError | None:
    """Return the error of a run whose configuration is damaged."""
    try:
        if (folder / CONFIG).is_file():
            read_description(folder)
    except DataError as error:
        return error
    return None
