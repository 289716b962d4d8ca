"""Run one job: display its progress, write its metrics, and raise the error of a failed task."""

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
from pipeline.running.dataflow_jobs import (
    Submission,
    TemplateStaged,
    data_errors,
    name_job,
    run_submitted,
    without_step,
)
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
    """Size of a job: `total` units of a stage that writes below `output`.

    cpu_seconds: estimated CPU time that a local run may spread over threads; 0 if tasks use all cores by themselves.
    """

    stage: str
    output: str
    unit: str
    total: int
    cpu_seconds: float = 0.0


def run_job(construct: Construct, arguments: Sequence[str], spec: JobSpec) -> None:
    """Build a Beam pipeline with `construct`, run it, wait for its end, and write its metrics.

    `arguments` are Beam's flags. Without `--runner`, the job runs in this process with up to one thread per core, or
    `--direct_num_workers N` threads. Raises UsageError for unknown flags, and the DataError of a task.
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
        # A worker in another process sends its traceback as text.
        messages = [without_step(str(error))] if isinstance(error, DataError) else data_errors(str(error))
        if not messages:
            raise
        raise DataError(messages[-1]) from error
    seconds = round(time.monotonic() - start, 3)
    name = options.view_as(StandardOptions).runner or "FnApiRunner"
    metrics_file.write(spec.output, spec.stage, {"runner": name, "seconds": seconds, **counted})


def _run(pipeline: beam.Pipeline, spec: JobSpec) -> dict[str, Any]:
    """Run a job that ends with this command. Raises DataError if the job does not end successfully."""
    result = pipeline.run()
    try:
        state = result.wait_until_finish()
    except KeyboardInterrupt:
        with suppress(Exception):  # the job server may be gone
            result.cancel()
        raise
    if state not in (None, PipelineState.DONE):
        raise DataError(
            f"stage {spec.stage}: the job ended as {state}; run the same command to start it again"
        )
    return metrics.collect(result)


def _interrupted(error: BaseException | None) -> bool:
    """Whether an error was caused by Ctrl-C; Beam wraps exceptions raised in this process."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
