"""How a job is run: Beam's options, with a local default that uses the machine's cores."""

import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineRunner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from schemas.errors import DataError, UsageError

Construct = Callable[[beam.Pipeline], object]

WORTH_A_PROCESS_SECONDS = 10.0  # a worker process needs a few seconds until it has imported Beam
LOCAL_RUNNERS = (None, "DirectRunner", "FnApiRunner")


def run_job(construct: Construct, arguments: Sequence[str], cpu_seconds: float) -> None:
    """Build a Beam pipeline with `construct`, run it, and wait for its end.

    `arguments` are the flags that a verb did not know itself. Without `--runner` a job runs on this machine, in
    as many processes as its estimated work of `cpu_seconds` is worth, up to one a core;
    `--direct_num_workers N` sets another number. Raises UsageError for unknown flags, and
    the DataError of a worker.
    """
    options = beam_options(arguments)
    given = any(flag.startswith("--direct_num_workers") for flag in arguments)
    runner = _local_runner(options, None if given else cpu_seconds)
    try:
        with beam.Pipeline(runner=runner, options=options) as pipeline:
            construct(pipeline)
    except UsageError:
        raise
    except Exception as error:
        # A worker in another process sends its traceback as text; what the user can mend is in its last line.
        told = re.findall(r"^schemas\.errors\.DataError: (.*)", str(error), re.MULTILINE)
        if isinstance(error, DataError):
            told = [str(error)]
        if not told:
            raise
        raise DataError(re.sub(r" \[while running '[^']*'\]", "", told[-1])) from error


def beam_options(arguments: Sequence[str]) -> PipelineOptions:
    """Parse Beam's flags. Raises UsageError for a flag that Beam does not know either."""
    known = PipelineOptions([]).get_all_options()
    for flag in arguments:
        name = flag.lstrip("-").partition("=")[0]
        if flag.startswith("-") and name not in known and name.removeprefix("no_") not in known:
            raise UsageError(
                f"unknown flag {flag}; --help shows ours, Beam's documentation those of a runner"
            )
    return PipelineOptions(list(arguments))


def _local_runner(options: PipelineOptions, cpu_seconds: float | None) -> PipelineRunner | None:
    """The runner for this machine, unless another one is asked for.

    It is made here, since Beam's default local runner first tries to download another one.
    """
    if options.view_as(StandardOptions).runner not in LOCAL_RUNNERS:
        return None
    direct = options.view_as(DirectOptions)
    cores = os.cpu_count() or 1
    if cpu_seconds is None:
        workers = direct.direct_num_workers or cores
    else:
        workers = min(cores, 1 + int(cpu_seconds / WORTH_A_PROCESS_SECONDS))
    direct.direct_num_workers = workers
    if workers == 1:
        return FnApiRunner()
    # Beam runs this through a shell, hence the quotes.
    command = f"{shlex.quote(sys.executable)} -m pipeline.jobs.local_worker"
    return FnApiRunner(SubprocessSDKEnvironment.from_command_string(command))
