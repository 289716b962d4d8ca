"""Fetch the URLs of one plan: all hosts concurrently, each within its limits, with every outcome in the journal."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import pyarrow as pa

from pipeline.config import FetchConfig
from pipeline.fetch.connections import RESOLVER_THREADS
from pipeline.fetch.host_limits import MAX_HOSTS, HostLimits
from pipeline.fetch.policies import Policy
from pipeline.fetch.url_fetcher import FetchedBody, FetchRequest, RedirectToOtherTask, UrlFetcher
from pipeline.fetch.urls import host_key, parse_url
from pipeline.rejections import Rejected
from schemas.fetched import FETCHED

TABLE_ROWS = 8192
SLOW_HOST_SECONDS = 1.0  # between two reports of slow hosts
WORKERS_PER_SLOT = 4  # so that a URL that waits for its next attempt does not occupy its host


class Recorder(Protocol):
    """Records each outcome at once, and returns its row of the table `fetched`, or {} if none is wanted."""

    def put(self, url: str, fetched: FetchedBody) -> dict[str, Any]:
        """Record the body of a URL."""

    def put_failure(self, url: str, rejected: Rejected) -> dict[str, Any]:
        """Record the rejection of a URL."""


@dataclass
class FetchOutcome:
    """The result of a plan: rows of the table `fetched`, and requests that other tasks continue."""

    redirects: list[FetchRequest] = field(default_factory=list)
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _tables: list[pa.Table] = field(default_factory=list)

    def add(self, row: dict[str, Any]) -> None:
        """Add a row, if there is one. Every TABLE_ROWS rows become a table, which takes a tenth of the memory."""
        if row:
            self._rows.append(row)
        if len(self._rows) == TABLE_ROWS:
            self._tables.append(FETCHED.from_rows(self._rows))
            self._rows.clear()

    def tables(self) -> list[pa.Table]:
        """Return all rows as tables of the schema FETCHED."""
        return [*self._tables, FETCHED.from_rows(self._rows)]


@dataclass(frozen=True)
class FetchPlan:
    """The settings of one task.

    max_bytes: limit of a body. limits: this task's share of the limits of each host. responsible: whether the task may
    send requests to a host, given its key. policies: policy files that another task has read. digests: digests of bodies
    that earlier runs fetched, by URL; other bytes are rejected as content_changed. done: called with numbers of finished
    URLs. slow: called every SLOW_HOST_SECONDS with descriptions of the hosts that delay the task.
    """

    config: FetchConfig
    max_bytes: int
    limits: HostLimits
    responsible: Callable[[str], bool] = lambda _: True
    policies: tuple[Policy, ...] = ()
    digests: dict[str, str] = field(default_factory=dict)
    done: Callable[[int], None] = lambda _: None
    slow: Callable[[list[str]], None] = lambda _: None


def url_host_key(url: str) -> str:
    """Return the host key of a URL, "" for an invalid URL."""
    try:
        return host_key(parse_url(url))
    except Rejected:
        return ""


def fetch_all(requests: Iterable[FetchRequest], plan: FetchPlan, journal: Recorder) -> FetchOutcome:
    """Fetch all requests in a new event loop.

    Raises DataError if there is no contact address, OSError if the journal cannot be written.
    """
    try:
        return asyncio.run(_fetch_all(requests, plan, journal))
    except BaseExceptionGroup as group:
        raise _first(group) from group


def read_policies(urls: Iterable[str], config: FetchConfig) -> list[Policy]:
    """Read the policy files of the hosts of some URLs, so that other tasks need not request them.

    Raises DataError if there is no contact address.
    """

    async def read() -> list[Policy]:
        fetcher = UrlFetcher(config, 0, HostLimits.from_config(config))
        try:
            return await fetcher.policies.read(urls)
        finally:
            await fetcher.close()

    return asyncio.run(read())


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _fetch_all(requests: Iterable[FetchRequest], plan: FetchPlan, journal: Recorder) -> FetchOutcome:
    with ThreadPoolExecutor(RESOLVER_THREADS + 1) as threads:  # and one that parses rules
        asyncio.get_running_loop().set_default_executor(threads)
        fetcher = UrlFetcher(plan.config, plan.max_bytes, plan.limits, plan.responsible)
        try:
            fetcher.policies.adopt(plan.policies)
            outcome = FetchOutcome()
            reporting = asyncio.create_task(_report_slow_hosts(fetcher, plan))
            active = asyncio.Semaphore(MAX_HOSTS)
            async with asyncio.TaskGroup() as hosts:
                for queue in _by_host(requests):
                    await active.acquire()
                    host = hosts.create_task(_drain(queue, fetcher, plan, journal, outcome))
                    host.add_done_callback(lambda _: active.release())
            reporting.cancel()
            return outcome
        finally:
            plan.slow([])
            await fetcher.close()
            threads.shutdown(wait=False, cancel_futures=True)


async def _report_slow_hosts(fetcher: UrlFetcher, plan: FetchPlan) -> None:
    while True:
        await asyncio.sleep(SLOW_HOST_SECONDS)
        plan.slow(fetcher.hosts.slow())


def _by_host(requests: Iterable[FetchRequest]) -> Iterator[deque[FetchRequest]]:
    """Yield the queue of each host, the longest first, since it takes longest."""
    queues: defaultdict[str, deque[FetchRequest]] = defaultdict(deque)
    for request in requests:
        queues[url_host_key(request.target or request.url)].append(request)
    yield from sorted(queues.values(), key=len, reverse=True)


async def _drain(
    queue: deque[FetchRequest], fetcher: UrlFetcher, plan: FetchPlan, journal: Recorder, outcome: FetchOutcome
) -> None:
    """Fetch the requests of one host."""

    async def work() -> None:
        while queue:
            request = queue.popleft()
            try:
                outcome.add(await _fetch(request, fetcher, plan, journal))
            except RedirectToOtherTask as redirect:
                # Another task continues the attempt and counts it again.
                stats = replace(redirect.stats, attempts=redirect.stats.attempts - 1)
                outcome.redirects.append(
                    FetchRequest(request.url, str(redirect.target), redirect.hops, stats)
                )
                continue
            plan.done(1)

    async with asyncio.TaskGroup() as workers:
        for _ in range(min(len(queue), WORKERS_PER_SLOT * plan.limits.concurrency)):
            workers.create_task(work())


async def _fetch(
    request: FetchRequest, fetcher: UrlFetcher, plan: FetchPlan, journal: Recorder
) -> dict[str, Any]:
    try:
        fetched = await fetcher.fetch(request)
    except Rejected as rejected:
        return journal.put_failure(request.url, rejected)
    with fetched.body:
        known = plan.digests.get(request.url)
        if known is not None and known != fetched.sha256:
            text = f"{request.url}: SHA-256 {fetched.sha256}, in an earlier run {known}"
            return journal.put_failure(request.url, Rejected("content_changed", text, fetched.stats))
        return journal.put(request.url, fetched)
