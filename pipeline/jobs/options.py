"""How a job is run: Beam's options, with a local default that uses the machine's cores."""

import os
import shlex
import sys
from collections.abc import Callable, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineRunner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from schemas.errors import UsageError

Construct = Callable[[beam.Pipeline], object]

LOCAL_RUNNERS = (None, "DirectRunner", "FnApiRunner")


def run_job(construct: Construct, arguments: Sequence[str]) -> None:
    """Build a Beam pipeline with `construct`, run it, and wait for its end.

    `arguments` are the flags that a verb did not know itself. Without `--runner` a job runs on this machine in
    one process a core; `--direct_num_workers N` sets another number. Raises UsageError for unknown flags.
    """
    options = beam_options(arguments)
    with beam.Pipeline(runner=_local_runner(options), options=options) as pipeline:
        construct(pipeline)


def beam_options(arguments: Sequence[str]) -> PipelineOptions:
    """Parse Beam's flags. Raises UsageError for a flag that Beam does not know either."""
    known = PipelineOptions().get_all_options()
    for flag in arguments:
        name = flag.lstrip("-").partition("=")[0]
        if flag.startswith("-") and name not in known and name.removeprefix("no_") not in known:
            raise UsageError(
                f"unknown flag {flag}; --help shows ours, Beam's documentation those of a runner"
            )
    return PipelineOptions(list(arguments))


def _local_runner(options: PipelineOptions) -> PipelineRunner | None:
    """The runner for this machine, unless another one is asked for.

    It is made here, since Beam's default local runner first tries to download another one.
    """
    if options.view_as(StandardOptions).runner not in LOCAL_RUNNERS:
        return None
    direct = options.view_as(DirectOptions)
    asked = options.get_all_options(drop_default=True).get("direct_num_workers")
    workers = asked or os.cpu_count() or 1
    direct.direct_num_workers = workers
    if workers == 1:
        return FnApiRunner()
    # Beam runs this through a shell, hence the quotes.
    command = f"{shlex.quote(sys.executable)} -m pipeline.jobs.local_worker"
    return FnApiRunner(SubprocessSDKEnvironment.from_command_string(command))
