"""The verbs that make lists: `retrieve` asks a search provider, `list-folder` lists pictures that one has."""

import argparse
import os
from collections.abc import Callable
from typing import Any

from common.command_line import add_verb
from common.errors import UsageError
from pipeline.fetch.urls import is_web_url
from pipeline.retrieve.providers import PROVIDERS


def add_retrieve(verbs: Any) -> None:
    """Add the verb, and its flags."""
    sub = add_verb(
        verbs,
        "retrieve",
        "ask a search provider for pictures of classes, and write a retrieval list",
        "python -m pipeline retrieve --provider openverse --classes ant bee --per-class 300 "
        "--contact you@lab.example --output mine/web.csv",
    )
    sub.add_argument(
        "--provider", required=True, choices=PROVIDERS, help="whom to ask (docs/how-to/web-images.md)"
    )
    names = sub.add_mutually_exclusive_group(required=True)
    names.add_argument("--classes", nargs="+", metavar="CLASS", help="names of the classes")
    names.add_argument("--class-list", metavar="FILE", help="names of the classes, one a line")
    names.add_argument("--config", metavar="FILE", help="a build's YAML file: its classes, and its contact")
    sub.add_argument(
        "--per-class", type=int, required=True, metavar="N", help="pictures wanted of each class"
    )
    sub.add_argument("--output", required=True, metavar="FILE", help="a new .csv, .jsonl or .parquet file")
    sub.add_argument(
        "--query",
        action="append",
        metavar="TEXT",
        help="what to search for; may be repeated (default: {class})",
    )
    sub.add_argument(
        "--synonyms",
        metavar="FILE",
        help="YAML: words for {class} in place of its name, as {crane: [crane bird]}",
    )
    sub.add_argument(
        "--contact", metavar="ADDRESS", help="mail or web address that the provider may write to"
    )
    sub.add_argument(
        "--pause", type=float, metavar="SECONDS", help="between two requests (default: the provider's)"
    )
    sub.add_argument("--endpoint", metavar="URL", help="another address of the same interface")


def add_list_folder(verbs: Any) -> None:
    """Add the verb, and its flags."""
    sub = add_verb(
        verbs,
        "list-folder",
        "write a list of the pictures in a folder that has a subfolder for each class",
        "python -m pipeline list-folder mine/photos --output mine/clean.csv --test mine/test.csv",
    )
    sub.add_argument("folder", metavar="FOLDER", help="where the subfolders are")
    sub.add_argument(
        "--output",
        required=True,
        metavar="FILE",
        help="a new .csv, .jsonl or .parquet file beside or above FOLDER",
    )
    sub.add_argument(
        "--test", metavar="FILE", help="another new file, for pictures that are held out as test set"
    )
    sub.add_argument(
        "--test-share",
        type=float,
        default=0.2,
        metavar="P",
        help="how much of each class (default: %(default)s)",
    )
    sub.add_argument("--seed", type=int, default=0, metavar="N", help="decides which (default: %(default)s)")
    sub.add_argument(
        "--follow-links",
        action="store_true",
        help="list what links out of FOLDER lead to, too, if it is below the folder of the lists",
    )


def run_list_folder(arguments: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Run list-folder, say what was written, and return it."""
    from pipeline.retrieve.folder import build_yaml, list_folder

    told = list_folder(
        arguments.folder,
        arguments.output,
        arguments.test,
        arguments.test_share,
        arguments.seed,
        arguments.follow_links,
    )
    say(f"{told['rows']:,} rows in {arguments.output}")
    if arguments.test:
        say(f"{told['test_rows']:,} rows in {arguments.test}")
    if told["layout"]:
        say(f"the classes are the folders in {told['layout']}")
    for reason, count in told["passed_over"].items():
        say(f"not listed: {reason}: {count:,}, such as {told['examples'][reason]!r}")
    say(f"\nfor build.yaml:\n{build_yaml(told['classes'], arguments.output, arguments.test)}".rstrip())
    return told


def run_retrieve(arguments: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Run retrieve, say what was found, and return it."""
    from pipeline.retrieve.client import ProviderClient
    from pipeline.retrieve.search import SearchRequest, class_queries, retrieve

    classes, contact = _classes_and_contact(arguments)
    if arguments.per_class < 1:
        raise UsageError(f"--per-class is 1 or more, got {arguments.per_class}")
    if arguments.endpoint and not is_web_url(arguments.endpoint):
        raise UsageError(f"--endpoint {arguments.endpoint}: give an http or https address")
    queries = class_queries(classes, arguments.query or ["{class}"], _synonyms(arguments.synonyms))
    provider = PROVIDERS[arguments.provider](os.environ)
    client = ProviderClient(provider, contact, arguments.endpoint, arguments.pause)
    try:
        told = retrieve(
            SearchRequest(arguments.provider, queries, arguments.per_class), client, arguments.output, say
        )
    finally:
        client.close()
    say(
        f"{told['rows']:,} rows in {arguments.output}, {told['requests']:,} requests, {told['skipped']:,} skipped"
    )
    if told["short"]:
        say(
            f"fewer than wanted: {', '.join(told['short'])}; add --query or --synonyms, or ask another provider, too"
        )
    return told


def _classes_and_contact(arguments: argparse.Namespace) -> tuple[list[str], str]:
    from pipeline import files
    from pipeline.config import load_config

    contact = arguments.contact or ""
    if arguments.config:
        config = load_config(arguments.config, [])
        names = list(config.classes)
        contact = contact or config.fetch.contact
    elif arguments.class_list:
        names = [line.strip() for line in files.read_lines(arguments.class_list) if line.strip()]
    else:
        names = arguments.classes
    if not names or len(set(names)) < len(names):
        raise UsageError("classes are one or more, each named once")
    if not contact or not contact.isascii() or not contact.isprintable():
        raise UsageError("--contact: providers ask who searches; give a mail or web address")
    return names, contact


def _synonyms(path: str | None) -> dict[str, list[str]]:
    from common.config import parse_yaml
    from pipeline import files

    if not path:
        return {}
    raw: dict[str, Any] = parse_yaml(files.read_text(path), path)
    for name, words in raw.items():
        if not (isinstance(words, list) and words and all(isinstance(word, str) and word for word in words)):
            raise UsageError(f"{path}: {name!r} needs a list of words")
    return raw
