"""Fetch the URLs of one task: all of its hosts at once, each within its limits, every outcome in the journal."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from common.errors import DataError
from pipeline.config import FetchConfig
from pipeline.fetch.host_limits import MAX_HOSTS, HostLimits
from pipeline.fetch.journal import Journal
from pipeline.fetch.policies import Policy
from pipeline.fetch.url_fetcher import FetchRequest, RedirectToOtherTask, UrlFetcher
from pipeline.fetch.urls import host_key, parse_url
from pipeline.rejections import Rejected
from schemas.fetched import FETCHED

WAITING_THREADS = 32  # for name resolution; an unresponsive name server blocks one for seconds
TABLE_ROWS = 8192
LOOK_SECONDS = 1.0  # between two looks for slow hosts
WORKERS_PER_SLOT = 4  # so that a URL that waits for its next attempt does not occupy its host


@dataclass
class FetchOutcome:
    """What a task did: rows for the table `fetched`, and requests that belong to other tasks."""

    elsewhere: list[FetchRequest] = field(default_factory=list)
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _tables: list[pa.Table] = field(default_factory=list)

    def add(self, row: dict[str, Any]) -> None:
        """Add a row; many of them become a table, which takes a tenth of the memory."""
        self._rows.append(row)
        if len(self._rows) == TABLE_ROWS:
            self._tables.append(FETCHED.from_rows(self._rows))
            self._rows.clear()

    def tables(self) -> list[pa.Table]:
        """Return all rows, of the schema FETCHED."""
        return [*self._tables, FETCHED.from_rows(self._rows)]


@dataclass(frozen=True)
class FetchPlan:
    """What one task fetches, and on which terms.

    limits: this task's share of what each host allows. responsible: whether the task may ask a host, by its key.
    policies: policy files that were read before. digests: of bodies that earlier runs fetched, by URL; other bytes are
    the rejection content_changed. done: called with the number of URLs each time that some are finished. slow: called
    now and then with the hosts that hold up the task, a few words on each.
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
    """Return the key of the host of a URL, "" where it has none."""
    try:
        return host_key(parse_url(url))
    except Rejected:
        return ""


def fetch_all(requests: Iterable[FetchRequest], task: FetchPlan, journal: Journal) -> FetchOutcome:
    """Fetch all requests in an event loop of their own; return when the last one has ended.

    Raises DataError if there is no contact address to tell the servers, or if the journal cannot be written.
    """
    if not task.config.contact and not task.config.allow_private_hosts:
        raise DataError(
            "the lists hold URLs, but fetch.contact is empty; "
            "set it to a mail address or web page, which servers see in the user agent"
        )
    try:
        return asyncio.run(_fetch_all(requests, task, journal))
    except BaseExceptionGroup as group:
        raise _first(group) from group


def read_policies(urls: Iterable[str], config: FetchConfig) -> list[Policy]:
    """Read the policy files of the hosts of some URLs, for other tasks to adopt."""

    async def read() -> list[Policy]:
        web = UrlFetcher(config, 0, HostLimits.from_config(config))
        try:
            return await web.policies.read(urls)
        finally:
            await web.close()

    return asyncio.run(read())


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _fetch_all(requests: Iterable[FetchRequest], task: FetchPlan, journal: Journal) -> FetchOutcome:
    with ThreadPoolExecutor(WAITING_THREADS) as threads:
        asyncio.get_running_loop().set_default_executor(threads)
        web = UrlFetcher(task.config, task.max_bytes, task.limits, task.responsible)
        try:
            web.policies.adopt(task.policies)
            outcome = FetchOutcome()
            looking = asyncio.create_task(_look_for_slow_hosts(web, task))
            active = asyncio.Semaphore(MAX_HOSTS)
            async with asyncio.TaskGroup() as hosts:
                for queue in _by_host(requests):
                    await active.acquire()
                    host = hosts.create_task(_drain(queue, web, task, journal, outcome))
                    host.add_done_callback(lambda _: active.release())
            looking.cancel()
            return outcome
        finally:
            task.slow([])
            await web.close()
            threads.shutdown(wait=False, cancel_futures=True)


async def _look_for_slow_hosts(web: UrlFetcher, task: FetchPlan) -> None:
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        task.slow(web.hosts.slow())


def _by_host(requests: Iterable[FetchRequest]) -> Iterator[deque[FetchRequest]]:
    """Queue the requests of each host; hosts with the longest queue come first, since they take longest."""
    queues: defaultdict[str, deque[FetchRequest]] = defaultdict(deque)
    for request in requests:
        queues[url_host_key(request.target or request.url)].append(request)
    yield from sorted(queues.values(), key=len, reverse=True)


async def _drain(
    queue: deque[FetchRequest], web: UrlFetcher, task: FetchPlan, journal: Journal, outcome: FetchOutcome
) -> None:
    """Fetch the requests of one host."""

    async def work() -> None:
        while queue:
            request = queue.popleft()
            try:
                outcome.add(await _fetch(request, web, task, journal))
            except RedirectToOtherTask as redirect:
                # The attempt continues in another task, which counts it again.
                asked = replace(redirect.asked, attempts=redirect.asked.attempts - 1)
                outcome.elsewhere.append(
                    FetchRequest(request.url, str(redirect.target), redirect.hops, asked)
                )
                continue
            task.done(1)

    async with asyncio.TaskGroup() as workers:
        for _ in range(min(len(queue), WORKERS_PER_SLOT * task.limits.fetches)):
            workers.create_task(work())


async def _fetch(request: FetchRequest, web: UrlFetcher, task: FetchPlan, journal: Journal) -> dict[str, Any]:
    try:
        answer = await web.fetch(request)
    except Rejected as rejected:
        return journal.put_failure(request.url, rejected)
    with answer.body:
        known = task.digests.get(request.url)
        if known is not None and known != answer.sha256:
            text = f"{request.url}: {answer.sha256}, and {known} before"
            return journal.put_failure(request.url, Rejected("content_changed", text, answer.asked))
        return journal.put(request.url, answer)
