"""Run one job to its end: show its progress, write its metrics, and raise its error in the words of the task."""

import re
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import StandardOptions
from apache_beam.runners.runner import PipelineState

from common.errors import DataError, UsageError
from pipeline.running import metrics, metrics_file, progress
from pipeline.running.dataflow_jobs import Submission, TemplateStaged, name_job, run_submitted
from pipeline.running.options import (
    beam_options,
    is_dataflow,
    local_runner,
    local_worker_count,
    running_mode,
    validated_pipeline,
)

Construct = Callable[[beam.Pipeline], object]


@dataclass(frozen=True)
class JobSpec:
    """What a job is about to do: `total` units of a stage that writes below `output`.

    cpu_seconds: estimated CPU time that a local run may spread over threads; 0 where tasks use all cores by themselves.
    """

    stage: str
    output: str
    unit: str
    total: int
    cpu_seconds: float = 0.0


def run_job(construct: Construct, arguments: Sequence[str], spec: JobSpec) -> None:
    """Build a Beam pipeline with `construct`, run it, wait for its end, and write what it counted.

    `arguments` are the flags that a verb did not know itself. Without `--runner` a job runs in this process, in as many
    threads as its estimated work is worth, up to one per core; `--direct_num_workers N` sets another number. Raises
    UsageError for unknown flags, and the DataError of a task.
    """
    options = beam_options(arguments)
    threads = local_worker_count(arguments, spec.cpu_seconds) if spec.cpu_seconds else 1
    runner = local_runner(options, threads, running_mode(arguments))
    submission = Submission.of(options, spec.output, spec.stage)
    if is_dataflow(options):
        name_job(options, submission)
    start = time.monotonic()
    try:
        with progress.show_progress(spec.stage, spec.unit, spec.total) if runner else nullcontext():
            pipeline = validated_pipeline(runner, options)
            construct(pipeline)
            counted = run_submitted(pipeline, submission) if is_dataflow(options) else _run(pipeline, spec)
    except (UsageError, TemplateStaged):
        raise
    except Exception as error:
        if _interrupted(error):
            raise KeyboardInterrupt from error
        # A worker in another process sends its traceback as text; what the user can mend is in its last line.
        told = re.findall(r"^common\.errors\.DataError: (.*)", str(error), re.MULTILINE)
        if isinstance(error, DataError):
            told = [str(error)]
        if not told:
            raise
        raise DataError(re.sub(r" \[while running '[^']*'\]", "", told[-1])) from error
    seconds = round(time.monotonic() - start, 3)
    name = options.view_as(StandardOptions).runner or "FnApiRunner"
    metrics_file.write(spec.output, spec.stage, {"runner": name, "seconds": seconds, **counted})


def _run(pipeline: beam.Pipeline, spec: JobSpec) -> dict[str, Any]:
    """Run a job that ends with this command. Raises DataError if somebody else has ended it."""
    result = pipeline.run()
    try:
        state = result.wait_until_finish()
    except KeyboardInterrupt:
        with suppress(Exception):  # a job server that is gone has nothing to cancel
            result.cancel()
        raise
    if state not in (None, PipelineState.DONE):
        raise DataError(f"stage {spec.stage}: the job ended as {state}; the same command starts it again")
    return metrics.collect(result)


def _interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C lies behind an error: where Beam runs our code in this process, it wraps whatever is raised."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
