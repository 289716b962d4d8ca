"""Carry out the runs of a study: claim one, train it, go on to the next; what fails is recorded and stops nothing."""

import functools
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path

import torch

from common.errors import DataError
from training.data.shards import ImageSet, load_pair
from training.device import available_cores, choose_device
from training.features.extract import FEATURES
from training.stop_signal import StopSignal
from training.study import claims
from training.study.claims import Claim, Claims, Process
from training.study.grid import Run
from training.train import run_training

LOOK_EVERY = 0.5  # seconds between looks of the study at its own workers


@dataclass(frozen=True)
class Work:
    """All that a process needs to take part in a study; small enough to send to it."""

    data: Path
    test: str
    output: Path
    runs: Mapping[str, Run]
    retried: Mapping[str, int]


@functools.lru_cache(maxsize=1)
def _sets(data: Path, split: str, test: str, frozen: bool) -> tuple[ImageSet, ImageSet]:
    """Keep the last sets read, for the next run on the same; a frozen network sees each picture but once."""
    return load_pair(data, split, test, 0) if frozen else load_pair(data, split, test)


def run_all(runs: Iterable[Run], data: Path, test: str, output: Path, jobs: int) -> Iterator[Run]:
    """Train the runs that have not finished, `jobs` at a time, and yield each as it ends, here or elsewhere.

    The cores are shared out evenly among the jobs. Raises KeyboardInterrupt when stopped; the runs under way
    have saved checkpoints then.
    """
    todo = {run.name: run for run in runs if not claims.is_finished(output, run.name)}
    work = Work(data, test, output, todo, claims.failures(output, todo))
    if jobs == 1:
        with StopSignal() as stop:
            yield from _carry_out(work, stop, progress=True)
    else:
        yield from _with_workers(work, jobs)


def _carry_out(
    work: Work, stop: Callable[[], bool], progress: bool, study: Process | None = None
) -> Iterator[Run]:
    """Take run after run until none is left, waiting for those that others have; yield each that has ended."""
    known = Claims(work.output, work.retried, study)
    todo = dict(work.runs)
    while todo:
        waiting = True
        for name, run in list(todo.items()):
            if stop():
                raise KeyboardInterrupt
            if not known.settled(name) and (claim := known.take(name)):
                _train(claim, run, work, stop, progress)
                waiting = False
            if known.settled(name):
                del todo[name]
                waiting = False
                yield run
        until = time.monotonic() + claims.HEARTBEAT
        while waiting and todo and time.monotonic() < until and not stop():
            time.sleep(min(LOOK_EVERY, claims.HEARTBEAT))


def _train(claim: Claim, run: Run, work: Work, stop: Callable[[], bool], progress: bool) -> None:
    """Train a claimed run and publish it; whatever goes wrong in it is written to the claim and goes no further.

    Raises KeyboardInterrupt, after a checkpoint, when stopped; a claim that was lost is given up.
    """
    try:
        with claim.kept():
            claim.inherit()
            sets = _sets(work.data, run.split, work.test, run.config.network.frozen)
            if not run.name.endswith(run.config.digest(*(one.digest for one in sets))):
                raise DataError(f"{run.split}: built anew since this study began; run the study again")
            run_training(
                run.config,
                *sets,
                claim.work,
                device=choose_device(),
                features=work.output / FEATURES,
                resume=True,
                progress=progress,
                stop=lambda: stop() or claim.lost,
            )
        claim.publish()
    except KeyboardInterrupt:
        claim.end(claims.LOST if claim.lost else claims.STOPPED)
        if not claim.lost:
            raise
    except Exception as error:  # one bad run must not end a study of many
        claim.end(claims.FAILED, error=f"{type(error).__name__}: {error}", traceback=traceback.format_exc())


def _with_workers(work: Work, jobs: int) -> Iterator[Run]:
    """Let `jobs` processes carry out the work; one that dies is replaced, and what it trained has failed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # torch is loaded once, not by each worker
    stopping = context.Event()
    threads = max(1, available_cores() // jobs)

    def start() -> BaseProcess:
        worker = context.Process(target=_worker, args=(work, threads, stopping, claims.process(os.getpid())))
        worker.start()
        return worker

    known, todo = Claims(work.output, work.retried), dict(work.runs)
    with StopSignal() as stop:
        workers = [start() for _ in range(min(jobs, len(todo)))]
        try:
            while todo:
                over = stop() or all(worker.exitcode == 0 for worker in workers)
                for name in [name for name in todo if known.settled(name)]:
                    yield todo.pop(name)
                if over and todo:
                    raise KeyboardInterrupt
                for place, worker in enumerate(workers):
                    if (worker.exitcode or 0) > 0:
                        raise RuntimeError("a worker ended by an error of its own, not of a run; it is above")
                    if worker.exitcode:
                        cause = f"its process died (exit code {worker.exitcode}), perhaps out of memory; "
                        assert worker.pid is not None
                        claims.fail_claims_of(worker.pid, work.output, todo, cause + "try fewer --jobs")
                        workers[place] = start()
                time.sleep(LOOK_EVERY)
        finally:
            stopping.set()
            for worker in workers:
                worker.join()


def _worker(work: Work, threads: int, stopping: Event, study: Process) -> None:
    """A process that trains until nothing is left, or at a signal, or when the study stops or is no more.

    A killed study cannot end its workers: they end by themselves, after the checkpoint of a run under way.
    """
    torch.set_num_threads(threads)
    parent = multiprocessing.parent_process()
    assert parent is not None
    with StopSignal() as signal:

        def stop() -> bool:
            return signal() or stopping.is_set() or not parent.is_alive()

        try:
            for _ in _carry_out(work, stop, progress=False, study=study):
                pass
        except KeyboardInterrupt:
            pass
