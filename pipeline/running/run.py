"""Runs one job to its end: shows how far it is, tells what it counted, and whose fault it was if it failed."""

import re
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineRunner

from pipeline.running import metrics, metrics_file, progress
from pipeline.running.options import beam_options, local_runner, local_workers, running_mode
from schemas.errors import DataError, UsageError

Construct = Callable[[beam.Pipeline], object]


@dataclass(frozen=True)
class Work:
    """What a job is about to do: `total` units of a stage that writes below `output`.

    cpu_seconds: estimated CPU time that a local run may spread over threads; 0 where tasks use all cores by themselves.
    """

    stage: str
    output: str
    unit: str
    total: int
    cpu_seconds: float = 0.0


class Staged(Exception):
    """The job was not run but written to the location that it names, for a Flex Template's launcher to start."""


def run_job(construct: Construct, arguments: Sequence[str], work: Work) -> None:
    """Build a Beam pipeline with `construct`, run it, wait for its end, and write what it counted.

    `arguments` are the flags that a verb did not know itself. Without `--runner` a job runs in this process, in as many
    threads as its estimated work is worth, up to one per core; `--direct_num_workers N` sets another number. Raises
    UsageError for unknown flags, and the DataError of a task.
    """
    options = beam_options(arguments)
    threads = local_workers(arguments, work.cpu_seconds) if work.cpu_seconds else 1
    runner = local_runner(options, threads, running_mode(arguments))
    start = time.monotonic()
    try:
        with progress.shown(work.stage, work.unit, work.total) if runner else nullcontext():
            pipeline = _pipeline(runner, options)
            construct(pipeline)
            result = pipeline.run()
            if template := options.view_as(GoogleCloudOptions).template_location:
                raise Staged(template)
            result.wait_until_finish()
    except (UsageError, Staged):
        raise
    except Exception as error:
        if _interrupted(error):
            raise KeyboardInterrupt from error
        # A worker in another process sends its traceback as text; what the user can mend is in its last line.
        told = re.findall(r"^schemas\.errors\.DataError: (.*)", str(error), re.MULTILINE)
        if isinstance(error, DataError):
            told = [str(error)]
        if not told:
            raise
        raise DataError(re.sub(r" \[while running '[^']*'\]", "", told[-1])) from error
    seconds = round(time.monotonic() - start, 3)
    name = options.view_as(StandardOptions).runner or "FnApiRunner"
    counted = {"runner": name, "seconds": seconds, **metrics.collect(result)}
    metrics_file.write(work.output, work.stage, counted)


def _interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C lies behind an error: where Beam runs our code in this process, it wraps whatever is raised."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _pipeline(runner: PipelineRunner | None, options: PipelineOptions) -> beam.Pipeline:
    try:
        return beam.Pipeline(runner=runner, options=options)
    except ValueError as error:  # Beam lists what a runner's options lack, or have wrong
        raise UsageError(str(error)) from error
