"""Limit requests to each host: how many at once, how soon after each other, and how long it may hold up the run."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import islice
from types import TracebackType

from pipeline.config import FetchConfig
from pipeline.fetch.robots import PathRules
from pipeline.fetch.urls import Url, host_key
from pipeline.rejections import Rejected

MAX_HOSTS = 2000  # remembered at once, unless more are in use
SECONDS_PER_ANSWER = 1.0
"""Seconds that an answer gives back to the budget of its host; a host that answers at this rate is never given up."""
SLOW_SHARE = 0.1  # of the budget; a host that has used more is shown as slow
SLOW_SHOWN = 3  # the most hosts shown at once


@dataclass(frozen=True)
class HostLimits:
    """Requests to one host: `fetches` at once, and `interval` seconds between the starts of two.

    share: 1/k where k tasks ask one host; other rules of the host (Crawl-delay) are stretched accordingly. seconds: how
    long the host may hold up the run.
    """

    fetches: int
    interval: float
    share: float = 1.0
    seconds: float = float("inf")

    @classmethod
    def from_config(cls, config: FetchConfig, index: int = 0, count: int = 1) -> "HostLimits":
        """Return share `index` of `count` of the configured limits: `count` such tasks together keep them."""
        fetches = config.host_concurrency // count + (index < config.host_concurrency % count)
        interval = count / config.host_requests_per_second if config.host_requests_per_second else 0.0
        return cls(fetches, interval, 1 / count, config.host_budget_seconds)


class HostBudget:
    """The time that a host may hold up the run.

    It is used while at least one request waits for the host, or for the end of a pause; not while all requests wait for
    a free place. Each answer gives some time back. Once used up, the budget stays so.
    """

    def __init__(self, seconds: float, given_back: float) -> None:
        self.seconds, self._given_back = seconds, given_back
        self._left = seconds
        self._running = 0
        self._then = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Use the budget inside the `with` block."""
        self._pass()
        self._running += 1
        try:
            yield
        finally:
            self._pass()
            self._running -= 1

    def give_back(self) -> None:
        """Give back the time of one answer, unless the budget is used up."""
        if self.left > 0:
            self._left = min(self.seconds, self._left + self._given_back)

    @property
    def left(self) -> float:
        """Seconds that are left, 0 if the time is used up."""
        self._pass()
        return max(0.0, self._left)

    def _pass(self) -> None:
        now = time.monotonic()
        if self._running and self._left > 0:
            self._left -= now - self._then
        self._then = now


class Host:
    """One host; `async with host` waits for a turn and holds it. Raises Rejected `host_too_slow` instead."""

    def __init__(self, name: str, limits: HostLimits) -> None:
        # Policy files (robots.txt, tdmrep.json) by URL: the task that reads them, and when they expire.
        self.rules: dict[Url, tuple[asyncio.Future[PathRules], float]] = {}
        self.name = name
        self.budget = HostBudget(limits.seconds, max(SECONDS_PER_ANSWER, limits.interval))
        self._slots = asyncio.Semaphore(limits.fetches)
        self._share = limits.share
        self._interval = limits.interval
        self._next = 0.0
        self.users = 0

    def pause(self, seconds: float) -> None:
        """Start no request for a number of seconds."""
        self._next = max(self._next, time.monotonic() + seconds)

    def slow_down(self, interval: float) -> None:
        """Leave at least `interval` seconds between two requests of all tasks that ask this host."""
        self._interval = max(self._interval, interval / self._share)

    @asynccontextmanager
    async def request(self, room: asyncio.Semaphore) -> AsyncIterator[None]:
        """Wait for a free place in the task (`room`) and hold it; the budget of the host is used inside the `with` block."""
        async with room:
            with self.budget.running():
                yield

    async def __aenter__(self) -> None:
        self.users += 1
        try:
            self._check()
            await self._slots.acquire()
            try:
                self._check()
                with self.budget.running():
                    while (wait := self._next - time.monotonic()) > 0:  # a pause may come while we wait
                        await asyncio.sleep(min(wait, self.budget.left))
                        self._check()
                self._next = time.monotonic() + self._interval
            except BaseException:
                self._slots.release()
                raise
        except BaseException:
            self.users -= 1
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._slots.release()
        self.users -= 1

    def _check(self) -> None:
        if not self.budget.left:
            raise Rejected(
                "host_too_slow",
                f"{self.name} has held up the run for {self.budget.seconds:g} s (fetch.host_budget_seconds); "
                "ask again with --retry host_too_slow",
            )


class Hosts:
    """The hosts that were asked recently."""

    def __init__(self, limits: HostLimits) -> None:
        self._limits = limits
        self._hosts: OrderedDict[str, Host] = OrderedDict()

    def get(self, url: Url) -> Host:
        """Return the host of a URL."""
        key = host_key(url)
        host = self._hosts.get(key)
        if host is None:
            host = self._hosts[key] = Host(key, self._limits)
            self._evict()
        self._hosts.move_to_end(key)
        return host

    def slow(self) -> list[str]:
        """Return the names of hosts that hold up the run, the slowest first, with the time that each has used."""
        used = [
            (host.budget.seconds - host.budget.left, name, host.budget.seconds)
            for name, host in self._hosts.items()
            if host.users and host.budget.left < (1 - SLOW_SHARE) * host.budget.seconds
        ]
        return [
            f"{name} ({seconds:,.0f} of {most:,.0f} s)"
            for seconds, name, most in sorted(used, reverse=True)[:SLOW_SHOWN]
        ]

    def _evict(self) -> None:
        """Evict the least recently used idle hosts above MAX_HOSTS."""
        for key in list(islice(self._hosts, max(0, len(self._hosts) - MAX_HOSTS))):
            if not self._hosts[key].users:
                del self._hosts[key]
