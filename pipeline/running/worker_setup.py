"""Check that worker processes on other machines have this package and can reach all paths."""

import os
import re
from collections.abc import Mapping

from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    SetupOptions,
    SparkRunnerOptions,
    WorkerOptions,
)

from common.errors import UsageError
from pipeline.running.options import LOCAL_FLINK, is_dataflow, is_portable, runner_name

PACKAGE = "controlled-noise"
LIBRARIES = {"gs": "gcsfs", "s3": "s3fs"}  # needed for a scheme and not part of the base package
_LOCAL_SPARK = re.compile(r"local(\[.+\])?")


def worker_environment(options: PipelineOptions) -> str:
    """Return Beam's name of the environment in which a portable runner executes tasks, with the runner's defaults."""
    name = runner_name(options)
    if given := options.view_as(PortableOptions).environment_type:
        return str(given).upper()
    if name == "flink":
        is_local = options.view_as(FlinkRunnerOptions).flink_master.strip() in LOCAL_FLINK
    elif name == "spark":
        is_local = bool(_LOCAL_SPARK.fullmatch(options.view_as(SparkRunnerOptions).spark_master_url))
    else:
        is_local = name != "portable"
    return "LOOPBACK" if is_local else "DOCKER"


def runs_in_containers(options: PipelineOptions) -> bool:
    """Whether tasks run in containers, which cannot read files of this machine."""
    return is_dataflow(options) or (is_portable(options) and worker_environment(options) == "DOCKER")


def check_workers(options: PipelineOptions, paths: Mapping[str, str]) -> None:
    """Raise UsageError if worker processes could not reach one of `paths` (by flag or key) or would lack this package."""
    _check_given_files(options)
    if not runs_in_containers(options):
        return
    for what, path in paths.items():
        if "://" not in path:
            raise UsageError(
                f"{what} {path}: the workers of this runner cannot reach a local path; copy the files to a bucket and "
                "give its URL, such as gs://BUCKET/FOLDER"
            )
    if _image(options):
        return
    setup = options.view_as(SetupOptions)
    named = _requirements(setup.requirements_file) | {
        _distribution(each) for each in setup.extra_packages or ()
    }
    if not (_is_ours(setup.setup_file) or PACKAGE in named):
        given = f"{setup.setup_file} packages another project" if setup.setup_file else "no flag installs it"
        raise UsageError(
            f"the workers would lack the package {PACKAGE}, because {given}; from a checkout add --setup_file ./setup.py, "
            "otherwise --extra_package WHEEL, or --sdk_container_image IMAGE if the image contains it"
        )
    schemes = {path.partition("://")[0] for path in paths.values()}
    for library in sorted({LIBRARIES[scheme] for scheme in schemes & LIBRARIES.keys()} - named):
        raise UsageError(
            f"the workers would lack {library}, which they need to open {', '.join(paths.values())}; add "
            "--requirements_file requirements-dataflow.txt, or another file that names it"
        )


def _check_given_files(options: PipelineOptions) -> None:
    setup = options.view_as(SetupOptions)
    given = [("--setup_file", setup.setup_file), ("--requirements_file", setup.requirements_file)]
    given += [("--extra_package", each) for each in setup.extra_packages or ()]
    for flag, path in given:
        if path and "://" not in path and not os.path.isfile(path):
            raise UsageError(
                f"{flag} {path}: no such file; correct the path (it is relative to {os.getcwd()})"
            )


def _image(options: PipelineOptions) -> bool:
    """Whether the user names a container image, whose content cannot be checked."""
    workers, portable = options.view_as(WorkerOptions), options.view_as(PortableOptions)
    return bool(
        workers.sdk_container_image
        or workers.worker_harness_container_image
        or portable.environment_config
        or portable.lookup_environment_option("docker_container_image")
    )


def _is_ours(setup_file: str | None) -> bool:
    folder = os.path.dirname(os.path.abspath(setup_file)) if setup_file else ""
    return bool(folder) and os.path.isfile(os.path.join(folder, "pipeline", "running", "worker_setup.py"))


def _requirements(path: str | None) -> set[str]:
    if not path or "://" in path:
        return set()
    with open(path, encoding="utf-8") as file:
        return {_distribution(line) for line in file if line.strip() and not line.startswith(("#", "-"))}


def _distribution(requirement: str) -> str:
    """Return the normalized project name of a requirement or of an archive like dist/controlled_noise-0.1.0.tar.gz."""
    name = re.match(r"[A-Za-z0-9._-]*[A-Za-z0-9]", os.path.basename(requirement.strip()))
    text = name.group() if name else ""
    text = re.split(r"-\d", text, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", text).lower()
