"""Check URLs once, with the limits, opt-outs and address checks of fetching, and record every outcome in the ledger."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from pipeline import files
from pipeline.config import FetchConfig
from pipeline.fetch.fetch_all import FetchPlan, fetch_all
from pipeline.fetch.host_limits import HostLimits
from pipeline.fetch.url_fetcher import FetchRequest, KnownVersion
from pipeline.fetch.urls import is_web_url, parse_url
from pipeline.links.journal import CheckJournal
from pipeline.links.ledger import (
    Check,
    Unfinished,
    commit_check,
    find_unfinished,
    first_digests,
    known_versions,
    now,
)
from pipeline.links.links import Links, digest_of
from pipeline.running.lock import build_lock
from pipeline.running.progress import advance, set_waiting_for, show_progress

CONTINUED = timedelta(hours=24)
"""A check that was stopped is continued for so long after its start; later, its outcomes and new ones have no common date."""


@dataclass(frozen=True)
class CheckTerms:
    """How URLs are checked.

    max_bytes: limit of a body. full: request every body, even if the host could confirm a known version.
    """

    config: FetchConfig
    max_bytes: int
    full: bool = False


def check_links(links: Links, ledger: str, terms: CheckTerms, say: Callable[[str], None]) -> str:
    """Check all URLs, or those that a stopped check of the same URLs has left; return the path of the check in the ledger.

    Raises UsageError if another check of the ledger is running, DataError if there is no contact address, or if a file of
    the ledger is damaged.
    """
    with build_lock(ledger, "check-links", "--ledger"):
        files.remove_temporaries(ledger)
        urls = links.table["url"].to_pylist()
        digests = links.table["sha256"].to_pylist()
        unfinished = _continued(ledger, Check(now(), len(urls), digest_of(links)), say)
        check, done = unfinished.check, unfinished.done
        known = first_digests(ledger)
        expected = {url: digest or known.get(url, "") for url, digest in zip(urls, digests, strict=True)}
        expected = {url: digest for url, digest in expected.items() if digest}
        listed = dict(zip(urls, links.table.select(["image_ids", "class_names"]).to_pylist(), strict=True))
        versions = {} if terms.full else _versions(ledger)
        requests = [FetchRequest(url, known=versions.get(url)) for url in urls if url not in done]
        limits = HostLimits.from_config(terms.config)
        plan = FetchPlan(terms.config, terms.max_bytes, limits, done=advance, slow=set_waiting_for)
        journal = CheckJournal(ledger, check, expected, listed, unfinished.parts)
        try:
            with show_progress("links", "URLs", len(requests)):
                fetch_all(requests, plan, journal)
        finally:
            journal.close()
        return commit_check(ledger, check)


def _continued(ledger: str, new: Check, say: Callable[[str], None]) -> Unfinished:
    """Return the stopped check of the same URLs, if it is recent, or the new check; commit another one as it is."""
    unfinished = find_unfinished(ledger)
    if unfinished is None:
        return Unfinished(new, frozenset(), 0)
    old, count = unfinished.check, len(unfinished.done)
    started = f"the check that was started on {old.started_at:%Y-%m-%d %H:%M} UTC and stopped after {count:,} of {old.urls:,} URLs"
    if old.digest == new.digest and timedelta(0) <= new.started_at - old.started_at < CONTINUED:
        say(f"continuing {started}")
        return unfinished
    say(f"{started} stays in the ledger as it is; starting a new one")
    commit_check(ledger, old)
    return Unfinished(new, frozenset(), 0)


def _versions(ledger: str) -> dict[str, KnownVersion]:
    """Return the versions of earlier checks that hosts may confirm, by URL, unless the URL is not valid any more."""
    return dict(_known(row) for row in known_versions(ledger).to_pylist() if is_web_url(row["url"]))


def _known(row: dict[str, str]) -> tuple[str, KnownVersion]:
    return row["url"], KnownVersion(
        row["final_url"] or str(parse_url(row["url"])), row["etag"], row["sha256"]
    )
