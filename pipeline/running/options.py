"""Parse Beam's flags, and choose the runner that they ask for: by default a local one that uses the machine's cores."""

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

from schemas.errors import UsageError

WORTH_A_WORKER_SECONDS = 1.0  # CPU time that pays for one more thread or process
KEEP_WORKERS_MILLISECONDS = 60_000
LOCAL_RUNNERS = ("", "direct", "fnapi")


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


def workers_wanted(arguments: Sequence[str]) -> int | None:
    """Return the --direct_num_workers that the user asks for (0: one per core), or None where it is not given."""
    direct = PipelineOptions(list(arguments)).view_as(DirectOptions)
    given = any(flag.startswith("--direct_num_workers") for flag in arguments)
    return direct.direct_num_workers or os.cpu_count() or 1 if given else None


def runner_name(options: PipelineOptions) -> str:
    """Return the name of the runner in lower case and without its ending, as Beam compares names: prism, flink."""
    return (options.view_as(StandardOptions).runner or "").lower().removesuffix("runner")


def is_local(arguments: Sequence[str]) -> bool:
    """Whether jobs with these flags run in this process."""
    return (
        runner_name(beam_options(arguments)) in LOCAL_RUNNERS
        and running_mode(arguments) != "multi_processing"
    )


def runs_here(arguments: Sequence[str]) -> bool:
    """Whether the tasks of jobs with these flags run in this process, if only on behalf of another one (Prism)."""
    environment = PipelineOptions(list(arguments)).view_as(PortableOptions).environment_type
    is_prism = runner_name(beam_options(arguments)) == "prism"
    return is_local(arguments) or (is_prism and environment in (None, "LOOPBACK"))


def running_mode(arguments: Sequence[str]) -> str | None:
    """Return the --direct_running_mode that the user asks for, or None where it is not given."""
    mode = PipelineOptions(list(arguments)).view_as(DirectOptions).direct_running_mode
    return str(mode) if any(flag.startswith("--direct_running_mode") for flag in arguments) else None


def local_workers(arguments: Sequence[str], cpu_seconds: float) -> int:
    """Return how many cores a local job uses: as asked for, or as many as its estimated work is worth."""
    return workers_wanted(arguments) or min(
        os.cpu_count() or 1, 1 + int(cpu_seconds / WORTH_A_WORKER_SECONDS)
    )


def decoders(arguments: Sequence[str], cpu_seconds: float) -> int:
    """Return how many processes decode pictures for each process that runs tasks.

    A cluster starts a process for each core, or several threads for all of them; one decoder keeps up with a core.
    """
    return local_workers(arguments, cpu_seconds) if runs_here(arguments) else 1


def local_runner(options: PipelineOptions, threads: int, mode: str | None = None) -> PipelineRunner | None:
    """Return the runner for this machine, unless another one is asked for.

    It is made here, because Beam's default local runner first tries to download another one. Where the user asks for a
    `mode` of it, Beam's flags hold as they are.
    """
    if (name := runner_name(options)) not in LOCAL_RUNNERS:
        _prepare(name, options)
        return None
    direct = options.view_as(DirectOptions)
    if mode is None:
        direct.direct_num_workers = threads
        direct.direct_running_mode = "multi_threading" if threads > 1 else "in_memory"
    return FnApiRunner()


def _prepare(runner: str, options: PipelineOptions) -> None:
    """Mend defaults of Beam's that serve nobody here, and tell what is downloaded: Beam does it without a word."""
    portable = options.view_as(PortableOptions)
    if runner == "prism":
        prism = options.view_as(PrismRunnerOptions)
        prism.prism_location = prism.prism_location or shutil.which("prism")
        if not prism.prism_location:
            raise UsageError(
                "PrismRunner: there is no program prism on the PATH; build it with "
                f"`go install github.com/apache/beam/sdks/v2/go/cmd/prism@v{beam.__version__}`, "
                "or name one with --prism_location"
            )
        portable.environment_type = portable.environment_type or "LOOPBACK"  # its default is a Docker image
    elif runner == "flink":
        # By default each step of a job starts Python anew, which takes longer than most steps.
        portable.environment_cache_millis = portable.environment_cache_millis or KEEP_WORKERS_MILLISECONDS
        flink = options.view_as(FlinkRunnerOptions)
        if not flink.flink_job_server_jar:
            logging.warning(
                "FlinkRunner: Beam downloads its job server for Flink %s from Maven Central, unless it is cached; "
                "--flink_job_server_jar names one that is here",
                flink.flink_version,
            )
