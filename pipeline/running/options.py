"""Beam's options, with a local default that uses the machine's cores, and which runner is meant by them."""

import logging
import os
import shutil
from collections.abc import Sequence
from itertools import pairwise

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DirectOptions,
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    PrismRunnerOptions,
    StandardOptions,
)
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineRunner

from pipeline.running.worker_processes import ProcessRunner
from schemas.errors import UsageError

WORTH_A_PROCESS_SECONDS = 1.0  # starting a worker process, and the way of what it does there and back
KEEP_WORKERS_MILLISECONDS = 60_000
LOCAL_RUNNERS = (None, "DirectRunner", "FnApiRunner")


def beam_options(arguments: Sequence[str]) -> PipelineOptions:
    """Parse Beam's flags. Raises UsageError for a flag that Beam does not know either."""
    known = PipelineOptions([]).get_all_options()
    for before, flag in pairwise(["", *arguments]):
        if not flag.startswith("-") and (not before.startswith("-") or "=" in before):
            raise UsageError(
                f"{flag!r} belongs to no flag; each value has a --set of its own, each flag its name"
            )
        name = flag.lstrip("-").partition("=")[0]
        if flag.startswith("-") and name not in known and name.removeprefix("no_") not in known:
            raise UsageError(
                f"unknown flag {flag}; --help shows ours, Beam's documentation those of a runner"
            )
    return PipelineOptions(list(arguments))


def processes_wanted(arguments: Sequence[str]) -> int | None:
    """How many processes a job on this machine shall have; None: as many as its work is worth, up to one a core."""
    direct = PipelineOptions(list(arguments)).view_as(DirectOptions)
    given = any(flag.startswith("--direct_num_workers") for flag in arguments)
    return direct.direct_num_workers or os.cpu_count() or 1 if given else None


def may_have_processes(arguments: Sequence[str]) -> bool:
    """Whether jobs with these flags may start worker processes on this machine."""
    local = beam_options(arguments).view_as(StandardOptions).runner in LOCAL_RUNNERS
    return local and (processes_wanted(arguments) or os.cpu_count() or 1) > 1


def worth(cpu_seconds: float) -> int:
    """How many processes so much work pays for."""
    return min(os.cpu_count() or 1, 1 + int(cpu_seconds / WORTH_A_PROCESS_SECONDS))


def local_runner(options: PipelineOptions, processes: int) -> PipelineRunner | None:
    """The runner for this machine, unless another one is asked for.

    It is made here, since Beam's default local runner first tries to download another one.
    """
    if (named := options.view_as(StandardOptions).runner) not in LOCAL_RUNNERS:
        _prepare(named, options)
        return None
    options.view_as(DirectOptions).direct_num_workers = processes
    return FnApiRunner() if processes == 1 else ProcessRunner()


def _prepare(runner: str, options: PipelineOptions) -> None:
    """Mend defaults of Beam's that serve nobody here, and tell what is downloaded: Beam does it without a word."""
    portable = options.view_as(PortableOptions)
    if runner == "PrismRunner":
        prism = options.view_as(PrismRunnerOptions)
        prism.prism_location = prism.prism_location or shutil.which("prism")
        if not prism.prism_location:
            raise UsageError(
                "PrismRunner: there is no program prism on the PATH; build it with "
                f"`go install github.com/apache/beam/sdks/v2/go/cmd/prism@v{beam.__version__}`, "
                "or name one with --prism_location"
            )
        portable.environment_type = portable.environment_type or "LOOPBACK"  # its default is a Docker image
    elif runner == "FlinkRunner":
        # By default each step of a job starts Python anew, which takes longer than most steps.
        portable.environment_cache_millis = portable.environment_cache_millis or KEEP_WORKERS_MILLISECONDS
        flink = options.view_as(FlinkRunnerOptions)
        if not flink.flink_job_server_jar:
            logging.warning(
                "FlinkRunner: Beam downloads its job server for Flink %s from Maven Central, unless it is cached; "
                "--flink_job_server_jar names one that is here",
                flink.flink_version,
            )
