"""The verb `check-links`."""

import argparse
from collections.abc import Callable
from typing import Any

from common.command_line import add_overrides, add_verb
from common.errors import UsageError

MORE = """SOURCE may also be a retrieval list, such as the withheld.csv of a publication; digests in its column sha256 are
compared. Limits per host, robots.txt, opt-outs and address checks are those of the section 'fetch'. The same command
continues a check that was stopped less than 24 hours after its start."""


def add_check_links(verbs: Any) -> None:
    """Add the verb, and its flags."""
    sub = add_verb(
        verbs,
        "check-links",
        "request the URLs of a build again, and record in a ledger which still give the same image (link rot)",
        "python -m pipeline check-links out --config mine/build.yaml",
        MORE,
    )
    sub.add_argument("source", metavar="SOURCE", help="output folder of a build, or a retrieval list")
    sub.add_argument(
        "--ledger",
        metavar="DIR",
        help="folder of the ledger, one Parquet file per check (default: SOURCE/links; required for a list)",
    )
    sub.add_argument(
        "--config",
        metavar="FILE",
        help="YAML file of a build, for its section fetch and ingest.max_bytes (default: default values)",
    )
    add_overrides(sub, "--config", "fetch.host_requests_per_second=1")
    sub.add_argument(
        "--contact",
        metavar="ADDRESS",
        help="mail address or web page of yours, sent in the User-Agent header (default: fetch.contact)",
    )
    sub.add_argument(
        "--sample",
        type=int,
        metavar="N",
        help="check N URLs, the same ones in every check (default: all)",
    )
    sub.add_argument(
        "--full",
        action="store_true",
        help="request every body, even if its host could confirm the version of an earlier check by its ETag",
    )
    sub.add_argument(
        "--show", action="store_true", help="print the summary of the ledger without checking any URL"
    )


def run_check_links(arguments: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Check the URLs, print the summary of the ledger, and return it."""
    from pipeline.config import load_config
    from pipeline.ingest_config import IngestConfig
    from pipeline.layout import Layout
    from pipeline.links.check import CheckTerms, check_links
    from pipeline.links.links import is_list, read_links
    from pipeline.links.summary import summarize, summary_lines

    if arguments.sample is not None and arguments.sample < 1:
        raise UsageError(f"--sample {arguments.sample}: expected a number of URLs of at least 1")
    if arguments.set and not arguments.config:
        raise UsageError("--set overrides values of a configuration; add --config FILE")
    source = arguments.source.rstrip("/")
    if is_list(source) and not arguments.ledger:
        raise UsageError(f"{source} is a list; add --ledger DIR, a folder for the outcomes of its checks")
    ledger = arguments.ledger or Layout(source).links
    result: dict[str, Any] = {"ledger": ledger}
    if not arguments.show:
        config = load_config(arguments.config, arguments.set) if arguments.config else None
        links = read_links(source, arguments.sample)
        if links.rejections:
            found = ", ".join(f"{count:,} {code}" for code, count in links.rejections.items())
            say(f"rejected rows of the list: {found}")
        max_bytes = (config.ingest if config else IngestConfig()).max_bytes
        terms = CheckTerms(_fetching(config, arguments.contact), max_bytes, arguments.full)
        result["rejections"] = links.rejections
        result["file"] = check_links(links, ledger, terms, say)
        say(f"wrote {result['file']}\n")
    summary = summarize(ledger)
    for line in summary_lines(summary):
        say(line)
    if not arguments.show and not summary.checks[-1].reached:
        say(f"note: no URL could be reached; if this machine was offline, delete {result['file']}")
    return {**result, **summary.to_json()}


def _fetching(config: Any, contact: str | None) -> Any:
    """Return the section fetch with the contact address. Raises UsageError if there is none."""
    from dataclasses import replace

    from pipeline.config import FetchConfig

    fetching = config.fetch if config else FetchConfig()
    try:
        fetching = replace(fetching, contact=contact) if contact else fetching
    except ValueError as error:
        raise UsageError(f"--contact: {error}") from error
    if not fetching.contact and not fetching.allow_private_hosts:
        raise UsageError(
            "there is no contact address for the User-Agent header; add --contact ADDRESS, or --config FILE with fetch.contact"
        )
    return fetching
