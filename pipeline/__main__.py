"""The command line of the pipeline: `python -m pipeline VERB` (docs/reference/cli.md)."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from common.command_line import Parser, add_overrides, add_verb, escape_unencodable, make_parser, run_verb
from common.errors import UnknownFlagError, UsageError
from common.temporary_folder import use_process_folder
from common.terminal import visible_lines
from pipeline.audit import verbs as audit
from pipeline.layout import STAGES
from pipeline.leaks import verbs as leaks
from pipeline.links.verbs import add_check_links
from pipeline.logging_setup import set_up_logging
from pipeline.publish.verbs import add_publish
from pipeline.published import verbs as published
from pipeline.retrieve import verbs as retrieve
from pipeline.verbs import VERBS
from pipeline.vote import verbs as vote

EXTRAS = {
    "duckdb": "report",
    "jinja2": "report",
    "markupsafe": "report",
    "matplotlib": "report",
    "huggingface_hub": "publish",
}
BEAM_VERBS = (*STAGES, "build", "verify")  # those that start a job
BEAM = """The configuration is one YAML file; --set KEY=VALUE overrides a value of it and may be repeated. Flags that are not
listed here are passed to Beam: --runner, --direct_num_workers, --project, …"""


def parser() -> Parser:
    """Return the parser with all verbs and their flags."""
    top = make_parser(
        "pipeline",
        "noise-pipeline",
        "Build training sets with exactly known label noise from web images and worker votes.",
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    _add_stages(verbs)
    _add_verify(verbs)
    _add_report(verbs)
    _add_view(verbs)
    vote.add_vote(verbs)
    audit.add_audit(verbs)
    _add_export(verbs)
    add_publish(verbs)
    retrieve.add_retrieve(verbs)
    retrieve.add_retrieve_similar(verbs)
    retrieve.add_list_folder(verbs)
    leaks.add_leaks(verbs)
    add_check_links(verbs)
    published.add_import_cnwl(verbs)
    published.add_from_cifar_n(verbs)
    return top


def _add_stages(verbs: Any) -> None:
    for verb, about in {
        "fetch": "download the URLs of the lists",
        "ingest": "download, check, normalize and fingerprint the images of the lists",
        "aggregate": "combine votes into verdicts",
        "embed": "compute features of the images with a frozen network, if embed.weights is set",
        "dedupe": "find near-duplicates and leaks of test images",
        "split": "select the noise and write the training and test sets",
        "build": "run all stages, each only if its inputs have changed",
    }.items():
        example = f"python -m pipeline {verb} --config mine/build.yaml --output out"
        sub = add_verb(verbs, verb, about, example, BEAM)
        _add_build_flags(sub)
        if verb in ("fetch", "ingest", "build"):
            sub.add_argument(
                "--retry",
                default="",
                metavar="CODE,…",
                help="fetch URLs again whose rows were rejected with one of these codes, such as timeout,server_error",
            )
        if verb == "aggregate":
            _add_question_flags(sub)


def _add_build_flags(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--config", required=True, metavar="FILE", help="YAML file (docs/reference/config.md)")
    add_overrides(sub, "the configuration", "ingest.size=84")
    sub.add_argument(
        "--output",
        required=True,
        metavar="DIR",
        help="folder of the build: local, gs://, s3:// or hdfs://",
    )
    sub.add_argument("--force", action="store_true", help="run stages that are up to date, too")
    sub.add_argument(
        "--dry-run",
        "--dry_run",
        action="store_true",
        help="check the launch and print what each stage would do, without writing anything",
    )
    sub.add_argument(
        "--on-interrupt",
        "--on_interrupt",
        choices=("cancel", "detach"),
        default="cancel",
        help="effect of Ctrl-C on a Dataflow job: cancel it, or leave it running so that the same command can attach "
        "to it later (default: %(default)s)",
    )


def _add_question_flags(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--next-questions",
        type=int,
        nargs="?",
        const=0,
        metavar="N",
        help="after aggregation, list the questions that need more votes, most informative first, for at most N answers",
    )
    sub.add_argument(
        "--for-noise",
        type=float,
        metavar="SHARE",
        help="with --next-questions: list the votes that bring the expected true noise within this share of the "
        "highest noise level, such as 0.02, at the lowest cost; N is then optional",
    )
    sub.add_argument(
        "--format",
        choices=("csv", "label-studio", "ground-truth"),
        default="csv",
        help="format of the list of next questions in OUTPUT/aggregate (default: %(default)s)",
    )


def _add_verify(verbs: Any) -> None:
    sub = add_verb(
        verbs,
        "verify",
        "check every file, row and image of a dataset; on failure, print the problems and exit with code 1",
        "python -m pipeline verify out/cifar10n/dataset",
        "By default, the dataset is verified in this process, with memory that does not grow with the number of\n"
        "images. With flags of Beam (--runner, --direct_num_workers, …), it is verified by a job with one task per\n"
        "bucket; on a cluster, set --temp_location to a folder that all machines share. The results are the same.",
    )
    sub.add_argument("dataset", metavar="DATASET", help="folder of a dataset (OUTPUT/dataset)")


def _add_report(verbs: Any) -> None:
    sub = add_verb(
        verbs,
        "report",
        "write one HTML page about a build: numbers, images, workers, hosts",
        "python -m pipeline report out/cifar10n",
    )
    sub.add_argument("build", metavar="OUTPUT", help="output folder of a build")
    sub.add_argument("--output", metavar="DIR", help="folder for report.html (default: OUTPUT)")


def _add_view(verbs: Any) -> None:
    sub = add_verb(
        verbs,
        "view",
        "browse the images of a build on a local web server",
        "python -m pipeline view out/cifar10n",
    )
    sub.add_argument("build", metavar="OUTPUT", help="output folder of a build")
    sub.add_argument(
        "--port",
        type=int,
        default=8765,
        metavar="N",
        help="port on 127.0.0.1; 0 means any free port (default: %(default)s)",
    )


def _add_export(verbs: Any) -> None:
    sub = add_verb(
        verbs,
        "export",
        "export a set as WebDataset shards or as a folder of images",
        "python -m pipeline export out/cifar10n/dataset --set-name red-0.40 --format webdataset --output out/red-0.40",
    )
    sub.add_argument("dataset", metavar="DATASET", help="folder of a dataset (OUTPUT/dataset)")
    sub.add_argument(
        "--set-name", required=True, metavar="SET", help="name of a set, such as red-0.40 or test"
    )
    sub.add_argument("--format", required=True, choices=("webdataset", "folder"), help="output format")
    sub.add_argument("--output", required=True, metavar="DIR", help="new or empty folder")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb and return the exit code: 0 success, 1 failure, 2 wrong usage, 130 interrupted."""
    if argv is None:  # started as a program
        escape_unencodable()
        use_process_folder()
    top = parser()
    arguments, others = top.parse_known_args(argv)
    set_up_logging()
    near = top.suggestions([arguments.verb, *others])
    return run_verb(lambda: _run(arguments, others, near), EXTRAS)


def _run(arguments: argparse.Namespace, others: list[str], near: str) -> int:
    if arguments.verb not in BEAM_VERBS and others:
        raise UsageError(f"{arguments.verb}: unknown argument {others[0]}{near}; see --help")

    def say(line: str) -> None:
        if not arguments.json:
            print(visible_lines(line), flush=True)

    try:
        return VERBS[arguments.verb](arguments, others, say)
    except UnknownFlagError as error:
        if not near:
            raise
        raise UsageError(
            f"unknown flag {error.flag}{near}"
        ) from error  # prefer this project's flags to Beam's


if __name__ == "__main__":
    sys.exit(main())
