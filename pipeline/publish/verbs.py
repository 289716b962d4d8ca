"""The verb `publish`."""

import argparse
from collections.abc import Callable
from typing import Any

from common.command_line import add_overrides, add_verb
from common.errors import UsageError
from common.plural import counted
from pipeline.publish.push import check_repository, push, repository_url


def add_publish(verbs: Any) -> None:
    """Add the verb, and its flags."""
    sub = add_verb(
        verbs,
        "publish",
        "write a folder with a dataset, its card, metadata, citation and methods, which a hub takes as it is",
        "python -m pipeline publish out/cifar10n --config configs/cifar10n.yaml --to out/published",
    )
    sub.add_argument(
        "build", metavar="OUTPUT", help="output folder of a finished build: local, gs://, s3:// or hdfs://"
    )
    sub.add_argument(
        "--config",
        required=True,
        metavar="FILE",
        help="YAML file of the build, with the section 'publication'",
    )
    add_overrides(sub, "the configuration", "publication.version=1.1.0")
    sub.add_argument(
        "--to", required=True, metavar="FOLDER", help="new folder, or that of an earlier publication"
    )
    sub.add_argument(
        "--set-name",
        action="append",
        default=[],
        metavar="SET",
        help="publish this training set and the test set; may be repeated (default: all sets)",
    )
    sub.add_argument(
        "--ids-only",
        action="store_true",
        help="publish images that may not be given away as rows without image, and list them in withheld.csv",
    )
    sub.add_argument(
        "--push",
        metavar="USER/NAME",
        help="upload the folder to this dataset repository of the Hugging Face hub; the token comes from HF_TOKEN or `hf auth "
        "login`",
    )
    sub.add_argument("--private", action="store_true", help="with --push: make a new repository private")


def run_publish(arguments: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Publish a build, report what was written and how to upload it, and return the counts."""
    from pipeline.config import load_config
    from pipeline.publish.publish import publish

    if arguments.private and not arguments.push:
        raise UsageError("--private needs --push USER/NAME; add it, or leave --private out")
    if arguments.push:
        check_repository(arguments.push, arguments.to)
    config = load_config(arguments.config, arguments.set)
    result = publish(
        arguments.build,
        config,
        arguments.to,
        names=arguments.set_name,
        ids_only=arguments.ids_only,
        url=repository_url(arguments.push) if arguments.push else "",
    )
    say(
        f"{result['folder']}: {counted(len(result['sets']), 'set')}, {counted(result['examples'], 'example')}, "
        f"{counted(result['images'], 'image')}, "
        f"{result['bytes'] / 1e6:,.1f} MB"
    )
    if result["withheld_images"]:
        without = result["withheld_without_url"]
        lost = f"; {without:,} have no URL, so that others cannot fetch them" if without else ""
        say(f"withheld: {counted(result['withheld_images'], 'image')}, listed in withheld.csv{lost}")
    say(f"files: {', '.join(result['files'])}")
    say(f"dataset manifest sha256 {result['manifest_sha256']}")
    if arguments.push:
        result["pushed"] = push(
            arguments.to, arguments.push, config.publication.version, private=arguments.private
        )
        say(f"pushed: {result['pushed']}")
    else:
        say(f"upload: hf upload USER/NAME {arguments.to} --repo-type dataset")
    return result
