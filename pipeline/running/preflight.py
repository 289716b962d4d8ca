"""Check a launch before any stage writes a file or submits a job."""

import logging
import shutil
from collections.abc import Mapping

from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    SparkRunnerOptions,
)

from common.errors import UsageError
from pipeline.running.dataflow_client import check_credentials
from pipeline.running.endpoints import check_endpoints, split_address
from pipeline.running.options import (
    LaunchOptions,
    beam_options,
    is_dataflow,
    is_portable,
    local_runner,
    running_mode,
    validated_pipeline,
)
from pipeline.running.worker_setup import check_workers, worker_environment

_THIS_MACHINE = {None, "embed", "local", "localhost", "127.0.0.1", "::1"}


def checked_options(arguments: list[str], paths: Mapping[str, str]) -> PipelineOptions:
    """Check flags, runner, paths, services and credentials, and return Beam's resolved options.

    `paths` maps flags or config keys to the paths that tasks read or write. Raises UsageError for the first failed check.
    Nothing is written or submitted.
    """
    options = beam_options(arguments)
    runner = local_runner(options, 1, running_mode(arguments))  # also prepares the options of other runners
    google = options.view_as(GoogleCloudOptions)
    if not is_dataflow(options):
        if google.template_location:
            raise UsageError(
                "--template_location: only Dataflow supports templates; add --runner DataflowRunner"
            )
        if options.view_as(LaunchOptions).on_interrupt == "detach":
            raise UsageError(
                "--on-interrupt detach: only jobs on Dataflow continue without this command; remove the flag"
            )
    check_endpoints(options)
    check_workers(options, paths)
    _warn_about_local_paths(options, paths)
    if is_dataflow(options):
        check_credentials(options)
    pipeline = validated_pipeline(runner, options)
    shutil.rmtree(pipeline.local_tempdir, ignore_errors=True)
    resolved: PipelineOptions = pipeline.options
    return resolved


def _warn_about_local_paths(options: PipelineOptions, paths: Mapping[str, str]) -> None:
    """Warn about local paths if tasks run on other machines, which may not share a file system with this one."""
    if not is_portable(options) or worker_environment(options) not in ("EXTERNAL", "PROCESS"):
        return
    addresses = [
        options.view_as(PortableOptions).job_endpoint,
        options.view_as(FlinkRunnerOptions).flink_master,
        options.view_as(SparkRunnerOptions).spark_master_url,
    ]
    hosts = {split_address(each)[1] for each in addresses if each}
    local = [path for path in paths.values() if "://" not in path]
    if local and hosts - _THIS_MACHINE:
        logging.warning("%s: all machines of the cluster must share this file system", ", ".join(local))
