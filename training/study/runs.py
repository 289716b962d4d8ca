"""Carry out the runs of a study: skip what is finished, record what fails, go on with the rest."""

import functools
import json
import multiprocessing
import os
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path

import torch

from schemas.errors import DataError
from training.config import TrainConfig
from training.data.shards import ImageSet, load_pair
from training.device import choose_device
from training.run_directory import read_result, write_json
from training.stop_signal import StopSignal
from training.study.grid import Run
from training.trainer import Trainer

FAILURE = "failure.json"


@dataclass(frozen=True)
class Task:
    """One run, with the places it needs; small enough to send to another process."""

    data: Path
    test: str
    directory: Path
    split: str
    config: TrainConfig


@functools.lru_cache(maxsize=1)
def _sets(data: Path, split: str, test: str) -> tuple[ImageSet, ImageSet]:
    """Keep the last sets read, for the next run on the same."""
    return load_pair(data, split, test)


def execute(task: Task, stop: Callable[[], bool], progress: bool) -> None:
    """Train one run; whatever goes wrong in it is written to its failure.json and goes no further.

    Raises KeyboardInterrupt, after a checkpoint, when stopped.
    """
    if stop():
        raise KeyboardInterrupt
    failure = task.directory / FAILURE
    failure.unlink(missing_ok=True)
    try:
        sets = _sets(task.data, task.split, task.test)
        if not task.directory.name.endswith(task.config.digest(*(one.digest for one in sets))):
            raise DataError(f"{task.split}: built anew since this study began; run the study again")
        trainer = Trainer(task.config, *sets, choose_device())
        trainer.run(task.directory, resume=True, progress=progress, stop=stop)
    except Exception as error:  # one bad run must not end a study of many
        task.directory.mkdir(parents=True, exist_ok=True)
        text = traceback.format_exc()
        write_json(failure, {"error": f"{type(error).__name__}: {error}", "traceback": text})


def read_failure(directory: Path) -> str | None:
    """Return why the run in a folder failed, or None if it did not."""
    path = directory / FAILURE
    return json.loads(path.read_text(encoding="utf-8"))["error"] if path.is_file() else None


def run_all(runs: Iterable[Run], data: Path, test: str, output: Path, jobs: int) -> Iterator[Run]:
    """Train the runs that have not finished, `jobs` at a time, and yield each as it ends.

    The cores are shared out evenly among the processes. Raises KeyboardInterrupt when stopped; the runs
    under way have saved checkpoints then.
    """
    unique = {run.name: run for run in runs}
    todo = {name: run for name, run in unique.items() if read_result(output / name) is None}
    tasks = {name: Task(data, test, output / name, run.split, run.config) for name, run in todo.items()}
    if jobs == 1:
        with StopSignal() as stop:
            for name, task in tasks.items():
                execute(task, stop, progress=True)
                yield todo[name]
        return
    threads = max(1, (os.cpu_count() or 1) // jobs)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # torch is loaded once, not by each worker
    stopping = context.Event()
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_prepare, initargs=(threads, stopping))
    with StopSignal() as stop, pool:
        futures: dict[Future[None], str] = {pool.submit(_in_worker, task): n for n, task in tasks.items()}
        waiting = set(futures)
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    name = futures[future]
                    try:
                        future.result()
                    except BrokenProcessPool:
                        tasks[name].directory.mkdir(parents=True, exist_ok=True)
                        cause = "a worker process died, perhaps out of memory; run the study again with fewer --jobs"
                        write_json(tasks[name].directory / FAILURE, {"error": cause, "traceback": ""})
                    yield todo[name]
                if stop():
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            stopping.set()
            pool.shutdown(cancel_futures=True)
            raise


class _WorkerStop:
    """Becomes true in a worker process at a signal, when the study stops, or when the study is no more."""

    def __init__(self, stopping: Event) -> None:
        self.signal = StopSignal().__enter__()  # for the life of the process
        self.stopping, self.orphaned = stopping, False
        self.busy = threading.Lock()
        threading.Thread(target=self._leave_when_orphaned, daemon=True).start()

    def __call__(self) -> bool:
        return self.signal() or self.stopping.is_set() or self.orphaned

    def _leave_when_orphaned(self) -> None:
        """A killed study cannot end its workers: they end by themselves, after the checkpoint of a run under way."""
        study = multiprocessing.parent_process()
        assert study is not None
        study.join()
        self.orphaned = True
        with self.busy:
            os._exit(1)


_stop: _WorkerStop | None = None


def _prepare(threads: int, stopping: Event) -> None:
    """Set up a worker process: its share of the cores, and what stops it."""
    global _stop
    torch.set_num_threads(threads)
    _stop = _WorkerStop(stopping)


def _in_worker(task: Task) -> None:
    assert _stop is not None
    with _stop.busy:
        execute(task, _stop, progress=False)
