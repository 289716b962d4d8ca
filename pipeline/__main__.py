"""The command line of the pipeline: `python -m pipeline VERB` (docs/reference/cli.md)."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from common.command_line import Parser, add_verb, make_parser, run_verb
from common.errors import UnknownFlagError, UsageError
from common.temporary_folder import use_process_folder
from pipeline.logging_setup import set_up_logging
from pipeline.published import verbs as published
from pipeline.retrieve import verbs as retrieve
from pipeline.verbs import STAGES, VERBS

EXTRAS = {"duckdb": "report", "jinja2": "report", "markupsafe": "report", "matplotlib": "report"}
BEAM = """The configuration is one YAML file; --set source=… and other --set KEY=VALUE lay values over it. Flags that are not
listed here go to Beam: --runner, --direct_num_workers, --project, …"""


def parser() -> Parser:
    """All verbs and their flags."""
    top = make_parser(
        "pipeline",
        "noise-pipeline",
        "From web images and worker votes to training sets with exactly known label noise.",
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    _add_stages(verbs)
    _add_verify(verbs)
    _add_report(verbs)
    _add_view(verbs)
    _add_export(verbs)
    retrieve.add_retrieve(verbs)
    retrieve.add_list_folder(verbs)
    published.add_import_cnwl(verbs)
    published.add_from_cifar_n(verbs)
    return top


def _add_stages(verbs: Any) -> None:
    for verb, about in {
        "fetch": "fetch what the URLs of the lists point to",
        "ingest": "check, normalize and fingerprint the images of the lists, after fetching them",
        "aggregate": "resolve votes into verdicts",
        "dedupe": "find near-duplicates, and leaks to the test set",
        "split": "choose the noise and write the training and test sets",
        "build": "all five, each only if its inputs have changed",
    }.items():
        example = f"python -m pipeline {verb} --config configs/cifar10n.yaml --set source=data/cifar10n --output out/cifar10n"
        sub = add_verb(verbs, verb, about, example, BEAM)
        sub.add_argument(
            "--config", required=True, metavar="FILE", help="YAML file (docs/reference/config.md)"
        )
        sub.add_argument(
            "--set", action="append", default=[], metavar="KEY=VALUE", help="lay a value over the file"
        )
        sub.add_argument(
            "--output", required=True, metavar="DIR", help="where all stages write; local, gs://, s3://"
        )
        sub.add_argument("--force", action="store_true", help="run even what is up to date")
        sub.add_argument(
            "--dry-run",
            "--dry_run",
            action="store_true",
            help="check everything and show what would be submitted; write nothing",
        )
        sub.add_argument(
            "--on-interrupt",
            "--on_interrupt",
            choices=("cancel", "detach"),
            default="cancel",
            help="what Ctrl-C does to a job on Dataflow: cancel it, or leave it running for a later command to attach to "
            "(default: %(default)s)",
        )
        if verb in ("fetch", "ingest", "build"):
            sub.add_argument(
                "--retry",
                default="",
                metavar="CODE,…",
                help="fetch URLs again whose rows were rejected with these codes: timeout,server_error",
            )
        if verb == "aggregate":
            sub.add_argument(
                "--next-questions",
                type=int,
                metavar="N",
                help="then list what still needs a vote, the most telling first, for at most N answers",
            )
            sub.add_argument(
                "--format",
                choices=("csv", "label-studio", "ground-truth"),
                default="csv",
                help="form of that list, in OUTPUT/labels (default: %(default)s)",
            )


def _add_verify(verbs: Any) -> None:
    sub = add_verb(
        verbs,
        "verify",
        "check every file, row and image of a dataset; exit code 1 if a rule is broken",
        "python -m pipeline verify out/cifar10n/dataset",
        "Without more flags, the dataset is verified in this process, in memory that does not grow with the number of\n"
        "images. With flags of Beam (--runner, --direct_num_workers, …), it is verified by a job with a task for each\n"
        "bucket; on a cluster, give --temp_location a folder that all machines share. The results are the same.",
    )
    sub.add_argument("dataset", metavar="DATASET", help="folder of a dataset (OUTPUT/dataset)")


def _add_report(verbs: Any) -> None:
    sub = add_verb(
        verbs,
        "report",
        "one HTML page of what came of a build: numbers, pictures, workers, hosts",
        "python -m pipeline report out/cifar10n",
    )
    sub.add_argument("build", metavar="OUTPUT", help="folder that `build --output` wrote")
    sub.add_argument("--output", metavar="DIR", help="where to write report.html (default: OUTPUT)")


def _add_view(verbs: Any) -> None:
    sub = add_verb(
        verbs,
        "view",
        "leaf through the pictures of a build in a browser, on this machine alone",
        "python -m pipeline view out/cifar10n",
    )
    sub.add_argument("build", metavar="OUTPUT", help="folder that `build --output` wrote")
    sub.add_argument(
        "--port",
        type=int,
        default=8765,
        metavar="N",
        help="of 127.0.0.1; 0: any that is free (default: %(default)s)",
    )


def _add_export(verbs: Any) -> None:
    sub = add_verb(
        verbs,
        "export",
        "write a set as WebDataset shards or as a folder of images",
        "python -m pipeline export out/cifar10n/dataset --set-name red-0.40 --format webdataset --output out/red-0.40",
    )
    sub.add_argument("dataset", metavar="DATASET", help="folder of a dataset (OUTPUT/dataset)")
    sub.add_argument("--set-name", required=True, metavar="SET", help="which set: red-0.40, test, …")
    sub.add_argument("--format", required=True, choices=("webdataset", "folder"), help="what to write")
    sub.add_argument("--output", required=True, metavar="DIR", help="an empty folder, or a new one")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code: 0 ok, 1 failed, 2 bad usage, 130 interrupted."""
    if argv is None:  # a process of its own
        use_process_folder()
    top = parser()
    arguments, others = top.parse_known_args(argv)
    set_up_logging()
    near = top.suggestions([arguments.verb, *others])
    return run_verb(lambda: _run(arguments, others, near), EXTRAS)


def _run(arguments: argparse.Namespace, others: list[str], near: str) -> int:
    if arguments.verb not in (*STAGES, "build", "verify") and others:
        raise UsageError(f"{arguments.verb} does not know {others[0]}{near}; see --help")

    def say(line: str) -> None:
        if not arguments.json:
            print(line, flush=True)

    try:
        return VERBS[arguments.verb](arguments, others, say)
    except UnknownFlagError as error:
        if not near:
            raise
        raise UsageError(f"unknown flag {error.flag}{near}") from error  # ours is nearer than one of Beam's


if __name__ == "__main__":
    sys.exit(main())
