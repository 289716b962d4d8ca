"""The verbs that make lists: `retrieve` from a search provider, `list-folder` from a folder of images."""

import argparse
import os
from collections.abc import Callable
from typing import Any

from common.command_line import add_verb
from common.config import MAX_SECONDS
from common.errors import UsageError
from common.plural import counted
from pipeline.fetch.urls import is_web_url
from pipeline.retrieve.providers import PROVIDERS


def add_retrieve(verbs: Any) -> None:
    """Add the verb, and its flags."""
    sub = add_verb(
        verbs,
        "retrieve",
        "search images of classes with a search provider, and write a retrieval list",
        "python -m pipeline retrieve --provider openverse --classes ant bee --per-class 300 "
        "--contact you@lab.example --output mine/web.csv",
    )
    sub.add_argument(
        "--provider",
        required=True,
        choices=PROVIDERS,
        help="search provider (docs/how-to/web-images.md); google accepts no new customers and ends on 2027-01-01",
    )
    names = sub.add_mutually_exclusive_group(required=True)
    names.add_argument("--classes", nargs="+", metavar="CLASS", help="names of the classes")
    names.add_argument("--class-list", metavar="FILE", help="file with one class name per line")
    names.add_argument(
        "--config", metavar="FILE", help="YAML file of a build, for its classes and fetch.contact"
    )
    sub.add_argument("--per-class", type=int, required=True, metavar="N", help="number of images per class")
    sub.add_argument("--output", required=True, metavar="FILE", help="new .csv, .jsonl or .parquet file")
    sub.add_argument(
        "--query",
        action="append",
        metavar="TEXT",
        help="search query with {class} in place of the class name; may be repeated (default: {class})",
    )
    sub.add_argument(
        "--synonyms",
        metavar="FILE",
        help="YAML file of words to search for instead of a class name, such as {crane: [crane bird]}",
    )
    sub.add_argument(
        "--contact",
        metavar="ADDRESS",
        help="mail address or web page of yours, sent in the User-Agent header",
    )
    sub.add_argument(
        "--pause",
        type=float,
        metavar="SECONDS",
        help="pause between two requests (default: the limit of the provider)",
    )
    sub.add_argument("--endpoint", metavar="URL", help="another URL with the same interface")


def add_retrieve_similar(verbs: Any) -> None:
    """Add the verb, and its flags."""
    sub = add_verb(
        verbs,
        "retrieve-similar",
        "list the web images of a build that look most like its clean images of each class (image-to-image search)",
        "python -m pipeline retrieve-similar out --per-class 100 --output mine/similar.csv",
    )
    sub.add_argument(
        "build", metavar="OUTPUT", help="output folder of a build with features (docs/how-to/embed.md)"
    )
    sub.add_argument(
        "--per-class", type=int, required=True, metavar="N", help="number of images per class, at most"
    )
    sub.add_argument("--output", required=True, metavar="FILE", help="new .csv, .jsonl or .parquet file")


def run_retrieve_similar(arguments: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Run retrieve-similar, report the list, and return the counts."""
    from pipeline.retrieve.similar import retrieve_similar

    counts = retrieve_similar(arguments.build, arguments.per_class, arguments.output)
    say(
        f"{counted(counts['rows'], 'row')} in {arguments.output}, from {counted(counts['pool'], 'web image')}"
    )
    if short := [name for name, count in counts["classes"].items() if count < arguments.per_class]:
        say(
            f"fewer images than --per-class: {', '.join(short)}; these classes have no clean images, "
            "or all other web images are in their lists already"
        )
    return counts


def add_list_folder(verbs: Any) -> None:
    """Add the verb, and its flags."""
    sub = add_verb(
        verbs,
        "list-folder",
        "write a list of the images in a folder that has a subfolder for each class",
        "python -m pipeline list-folder mine/photos --output mine/clean.csv --test mine/test.csv",
    )
    sub.add_argument("folder", metavar="FOLDER", help="folder with a subfolder for each class")
    sub.add_argument(
        "--output",
        required=True,
        metavar="FILE",
        help="new .csv, .jsonl or .parquet file beside or above FOLDER",
    )
    sub.add_argument("--test", metavar="FILE", help="second new file, for the images of the test set")
    sub.add_argument(
        "--test-share",
        type=float,
        default=0.2,
        metavar="P",
        help="share of each class that goes to --test, between 0 and 1 (default: %(default)s)",
    )
    sub.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed that selects the images of --test (default: %(default)s)",
    )
    sub.add_argument(
        "--follow-links",
        action="store_true",
        help="also list targets of links that are outside FOLDER but below the folder of the lists",
    )


def run_list_folder(arguments: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Run list-folder, report the lists, and return the counts."""
    from pipeline.retrieve.folder import build_yaml, list_folder

    counts = list_folder(
        arguments.folder,
        arguments.output,
        arguments.test,
        arguments.test_share,
        arguments.seed,
        arguments.follow_links,
    )
    say(f"{counted(counts['rows'], 'row')} in {arguments.output}")
    if arguments.test:
        say(f"{counted(counts['test_rows'], 'row')} in {arguments.test}")
    if counts["layout"]:
        say(f"the classes are the subfolders of {counts['layout']}")
    for reason, count in counts["not_listed"].items():
        say(f"not listed: {reason}: {count:,}, such as {counts['examples'][reason]!r}")
    say(f"\nfor build.yaml:\n{build_yaml(counts['classes'], arguments.output, arguments.test)}".rstrip())
    if not arguments.test:
        say("if workers are to check these images, write 'web' instead of 'clean'")
    return counts


def run_retrieve(arguments: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Run retrieve, report the list, and return the counts."""
    from pipeline.retrieve.client import ProviderClient
    from pipeline.retrieve.search import SearchRequest, class_queries, retrieve

    classes, contact = _classes_and_contact(arguments)
    if arguments.per_class < 1:
        raise UsageError(f"--per-class {arguments.per_class}: give a number of 1 or more")
    if arguments.pause is not None and not 0 <= arguments.pause <= MAX_SECONDS:
        raise UsageError(f"--pause {arguments.pause:g}: give a number of seconds from 0 to {MAX_SECONDS:,}")
    if arguments.endpoint and not is_web_url(arguments.endpoint):
        raise UsageError(f"--endpoint {arguments.endpoint}: give an http or https URL")
    queries = class_queries(classes, arguments.query or ["{class}"], _synonyms(arguments.synonyms))
    provider = PROVIDERS[arguments.provider](os.environ)
    if provider.notice:
        say(f"note: {provider.notice}")
    client = ProviderClient(provider, contact, arguments.endpoint, arguments.pause)
    try:
        counts = retrieve(
            SearchRequest(arguments.provider, queries, arguments.per_class), client, arguments.output, say
        )
    finally:
        client.close()
    say(
        f"{counted(counts['rows'], 'row')} in {arguments.output}, {counted(counts['requests'], 'request')}, "
        f"{counts['skipped']:,} skipped"
    )
    if counts["short"]:
        say(
            f"fewer images than --per-class: {', '.join(counts['short'])}; add --query or --synonyms, or use another provider"
        )
    return counts


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
        raise UsageError(f"--classes: give one or more classes, each once, got {names}")
    if not contact or not contact.isascii() or not contact.isprintable():
        raise UsageError("--contact: providers require it; give a mail address or web page in ASCII")
    return names, contact


def _synonyms(path: str | None) -> dict[str, list[str]]:
    from common.config import parse_yaml
    from pipeline import files

    if not path:
        return {}
    raw: dict[str, Any] = parse_yaml(files.read_text(path), path)
    for name, words in raw.items():
        if not (isinstance(words, list) and words and all(isinstance(word, str) and word for word in words)):
            raise UsageError(f"{path}: {name!r} has {words!r}; give a list of words")
    return raw
