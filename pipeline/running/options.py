"""Parse Beam's flags and choose the runner; the default is a local runner that uses the machine's cores."""

import argparse
import logging
import os
import re
import shutil
from collections.abc import Sequence
from difflib import get_close_matches
from functools import partial
from typing import Any, NoReturn, TypeVar, cast

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DirectOptions,
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    PrismRunnerOptions,
    StandardOptions,
)
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineRunner

from common.errors import UnknownFlagError, UsageError

WORTH_A_WORKER_SECONDS = 1.0  # CPU time that justifies one more thread or process
KEEP_WORKERS_MILLISECONDS = 60_000
LOCAL_FLINK = ("[local]", "[auto]")  # values of --flink_master
LOCAL_RUNNERS = ("", "direct", "switchingdirect", "fnapi")  # Beam's first two try to download Prism


Options = TypeVar("Options", bound=PipelineOptions)


class LaunchOptions(PipelineOptions):
    """Launch options of this project, declared to Beam so that they travel with its flags."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:  # a hook documented by Beam
        parser.add_argument(
            "--on_interrupt",
            choices=("cancel", "detach"),
            default="cancel",
            help="effect of Ctrl-C on a job of a service: cancel it, or leave it running",
        )
        parser.add_argument("--job_key", default="", help="digest of the job's output, set by the build")


class OptionsWithCachedViews(PipelineOptions):
    """Beam's options with a cache of views.

    Beam asks for a view several times for each step of a job, and each view parses all flags of its class again. All views
    read and write the values of the options that they belong to, so one view of each class is enough.
    """

    def view_as(self, cls: type[Options]) -> Options:
        """Return the view of a class of options."""
        views: dict[type[PipelineOptions], Any] = self.__dict__.setdefault("views", {})
        if cls not in views:
            views[cls] = super().view_as(cls)
        return cast(Options, views[cls])

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the cached views: Beam may give a copy other values, which they would not share."""
        return {name: value for name, value in super().__getstate__().items() if name != "views"}


def beam_options(arguments: Sequence[str]) -> PipelineOptions:
    """Parse Beam's flags. Raises UsageError for flags that Beam would ignore, wrong values and unknown runners.

    The value of `--runner` is replaced by the full name, because Beam compares it in several ways.
    """
    options = OptionsWithCachedViews(list(arguments))
    options.get_all_options(add_extra_args_fn=partial(_check_flags, arguments))
    standard = options.view_as(StandardOptions)
    standard.runner = full_runner_name(standard.runner) if standard.runner else None
    workers = options.view_as(DirectOptions).direct_num_workers
    if workers < 0:
        raise UsageError(
            f"--direct_num_workers {workers}: expected a positive number, or 0 for one per core; correct the flag"
        )
    return options


def _check_flags(arguments: Sequence[str], parser: argparse.ArgumentParser) -> None:
    """Raise UsageError for the first argument that Beam's parser does not accept."""

    def refuse(message: str) -> NoReturn:
        raise UsageError(f"{message}; correct the flag")

    parser.error = refuse  # type: ignore[method-assign]  # the default prints all of Beam's flags and exits
    try:
        _, unknown = parser.parse_known_args(list(arguments))
    except UsageError:
        raise
    except (TypeError, ValueError) as error:  # Beam's conversions do not name the flag
        raise UsageError(
            f"{' '.join(arguments)}: one of these values is not valid ({error}); correct it"
        ) from error
    for argument in unknown:
        if not argument.startswith("-"):
            raise UsageError(
                f"unexpected argument {argument!r}; write --flag VALUE, and repeat --set for each KEY=VALUE"
            )
        flag = argument.partition("=")[0]
        near = get_close_matches(flag, re.findall(r"--[\w-]+", parser.format_usage()), 1)
        hint = (
            f"did you mean {near[0]}?"
            if near
            else "see --help for the flags of this command and Beam's documentation for those of a runner"
        )
        raise UnknownFlagError(flag, hint)


def full_runner_name(name: str) -> str:
    """Return the full name of a Beam runner for any accepted spelling, such as prism or flinkrunner.

    A path of a class outside Beam is returned unchanged. Raises UsageError for an unknown name.
    """
    known = {each.lower(): each for each in StandardOptions.KNOWN_RUNNER_NAMES}
    module, _, last = name.rpartition(".")
    if module and not (module.startswith("apache_beam.") and last.lower() in known):
        return name
    lower = last.lower()
    for spelling in (lower, f"{lower}runner"):
        if spelling in known:
            return known[spelling]
    short = {each.removesuffix("runner"): each for each in known}
    near = get_close_matches(lower.removesuffix("runner"), short, 1)
    hint = (
        f"did you mean {known[short[near[0]]]}?"
        if near
        else f"choose one of {', '.join(sorted(known.values()))}"
    )
    raise UsageError(f"--runner: unknown runner {name!r}; {hint}")


def requested_workers(arguments: Sequence[str]) -> int | None:
    """Return the value of --direct_num_workers (0 means one per core), or None if the flag is not given."""
    direct = PipelineOptions(list(arguments)).view_as(DirectOptions)
    given = any(flag.startswith("--direct_num_workers") for flag in arguments)
    return direct.direct_num_workers or os.cpu_count() or 1 if given else None


def runner_name(options: PipelineOptions) -> str:
    """Return the name of the runner in lower case without the suffix "runner", such as flink; empty by default."""
    return (options.view_as(StandardOptions).runner or "").lower().removesuffix("runner")


def is_dataflow(options: PipelineOptions) -> bool:
    """Whether jobs are submitted to Dataflow."""
    return runner_name(options) in ("dataflow", "testdataflow")


def is_portable(options: PipelineOptions) -> bool:
    """Whether jobs are submitted to a job server, of a cluster or on this machine."""
    return runner_name(options) in ("portable", "flink", "spark", "prism", "kafkastreams")


def is_local(arguments: Sequence[str]) -> bool:
    """Whether jobs with these flags run in this process."""
    return (
        runner_name(beam_options(arguments)) in LOCAL_RUNNERS
        and running_mode(arguments) != "multi_processing"
    )


def runs_in_this_process(arguments: Sequence[str]) -> bool:
    """Whether the tasks of jobs with these flags run in this process, possibly driven by another one (Prism)."""
    environment = PipelineOptions(list(arguments)).view_as(PortableOptions).environment_type
    is_prism = runner_name(beam_options(arguments)) == "prism"
    return is_local(arguments) or (is_prism and environment in (None, "LOOPBACK"))


def running_mode(arguments: Sequence[str]) -> str | None:
    """Return the value of --direct_running_mode, or None if the flag is not given."""
    mode = PipelineOptions(list(arguments)).view_as(DirectOptions).direct_running_mode
    return str(mode) if any(flag.startswith("--direct_running_mode") for flag in arguments) else None


def local_worker_count(arguments: Sequence[str], cpu_seconds: float) -> int:
    """Return the number of cores for a local job: the requested number, or as many as the estimated work justifies."""
    return requested_workers(arguments) or min(
        os.cpu_count() or 1, 1 + int(cpu_seconds / WORTH_A_WORKER_SECONDS)
    )


def decoder_count(arguments: Sequence[str], cpu_seconds: float) -> int:
    """Return the number of decoder processes for each process that runs tasks.

    On a cluster it is 1: workers run one process per core, and one decoder keeps up with a core.
    """
    return local_worker_count(arguments, cpu_seconds) if runs_in_this_process(arguments) else 1


def local_runner(options: PipelineOptions, threads: int, mode: str | None = None) -> PipelineRunner | None:
    """Return the local runner, or None if the flags name another runner.

    It is created explicitly because Beam's default local runner first tries to download another one. If `mode` is given,
    Beam's flags apply unchanged.
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
    """Replace unsuitable defaults of Beam, and warn about downloads that Beam makes silently."""
    portable = options.view_as(PortableOptions)
    if runner == "prism":
        prism = options.view_as(PrismRunnerOptions)
        prism.prism_location = prism.prism_location or shutil.which("prism")
        if not prism.prism_location:
            raise UsageError(
                "PrismRunner: no program prism on the PATH; build it with "
                f"`go install github.com/apache/beam/sdks/v2/go/cmd/prism@v{beam.__version__}`, "
                "or give its path with --prism_location"
            )
        if "://" not in prism.prism_location and not os.path.isfile(prism.prism_location):
            raise UsageError(f"--prism_location {prism.prism_location}: no such file; correct the path")
        portable.environment_type = (
            portable.environment_type or "LOOPBACK"
        )  # Beam's default is a Docker image
    elif runner == "flink":
        # By default each step of a job starts a new Python, which takes longer than most steps.
        portable.environment_cache_millis = portable.environment_cache_millis or KEEP_WORKERS_MILLISECONDS
        flink = options.view_as(FlinkRunnerOptions)
        if not flink.flink_job_server_jar:
            logging.warning(
                "FlinkRunner: Beam downloads its job server for Flink %s from Maven Central unless it is cached; "
                "give a local file with --flink_job_server_jar to avoid this",
                flink.flink_version,
            )


def validated_pipeline(runner: PipelineRunner | None, options: PipelineOptions) -> beam.Pipeline:
    """Return an empty pipeline; its constructor validates the options. Raises UsageError if they are not valid."""
    google = options.view_as(GoogleCloudOptions)
    if is_dataflow(options) and not (google.temp_location or google.staging_location):
        # Without it, Beam would create a bucket.
        raise UsageError("DataflowRunner: --temp_location is missing; add --temp_location gs://BUCKET/temp")
    try:
        return beam.Pipeline(runner=runner, options=options)
    except ValueError as error:  # a list of missing or wrong options
        raise UsageError(" ".join(str(error).split())) from error
    except (ImportError, AttributeError, TypeError) as error:
        name = options.view_as(StandardOptions).runner
        raise UsageError(
            f"--runner {name}: cannot be loaded ({error}); install it, or choose another runner"
        ) from error
