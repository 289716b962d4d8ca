"""Limit requests to each host: how many in progress, how many per second, and how long the host may delay the run."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import islice

from pipeline.config import FetchConfig
from pipeline.fetch.robots import PathRules
from pipeline.fetch.urls import Url, host_key
from pipeline.rejections import Rejected

MAX_HOSTS = 2000  # hosts in memory, unless more are in use
SECONDS_PER_ANSWER = 1.0
"""Seconds that each answer returns to the budget of its host; a host that answers at this rate never runs out."""
SLOW_SHARE = 0.1  # a host that has used more of its budget is reported as slow
SLOW_SHOWN = 3  # maximum number of slow hosts in one report


@dataclass(frozen=True)
class HostLimits:
    """Limits of one host: `concurrency` requests in progress, and `interval` seconds between the starts of two.

    share: 1/k if k tasks share the host, by which its Crawl-delay is divided. seconds: time budget of the host.
    """

    concurrency: int
    interval: float
    share: float = 1.0
    seconds: float = float("inf")

    @classmethod
    def from_config(cls, config: FetchConfig, index: int = 0, count: int = 1) -> "HostLimits":
        """Return the limits of task `index` of `count` tasks that together keep the configured limits."""
        concurrency = config.host_concurrency // count + (index < config.host_concurrency % count)
        interval = count / config.host_requests_per_second if config.host_requests_per_second else 0.0
        return cls(concurrency, interval, 1 / count, config.host_budget_seconds)


class HostBudget:
    """The time budget of a host.

    It decreases while at least one request waits for the host, or for the end of a pause, but not while all requests
    wait for a free slot of the task. Each answer returns some time, unless the budget is used up.
    """

    def __init__(self, seconds: float, returned: float) -> None:
        self.seconds, self._returned = seconds, returned
        self._left = seconds
        self._running = 0
        self._updated = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Use the budget inside the `with` block."""
        self._update()
        self._running += 1
        try:
            yield
        finally:
            self._update()
            self._running -= 1

    def return_time(self) -> None:
        """Return the time of one answer to the budget, unless the budget is used up."""
        if self.left > 0:
            self._left = min(self.seconds, self._left + self._returned)

    @property
    def left(self) -> float:
        """Seconds left in the budget, 0 if it is used up."""
        self._update()
        return max(0.0, self._left)

    def _update(self) -> None:
        now = time.monotonic()
        if self._running and self._left > 0:
            self._left -= now - self._updated
        self._updated = now


class Host:
    """One host: its limits, its budget and the rules of its policy files."""

    def __init__(self, name: str, limits: HostLimits) -> None:
        # Policy files (robots.txt, tdmrep.json) by URL: the future of their rules, and when they expire.
        self.rules: dict[Url, tuple[asyncio.Future[PathRules], float]] = {}
        self.name = name
        self.budget = HostBudget(limits.seconds, max(SECONDS_PER_ANSWER, limits.interval))
        self._slots = asyncio.Semaphore(limits.concurrency)
        self._turn = asyncio.Lock()
        self._share = limits.share
        self._interval = limits.interval
        self._next = 0.0
        self.users = 0

    def pause(self, seconds: float) -> None:
        """Delay further requests by a number of seconds."""
        self._next = max(self._next, time.monotonic() + seconds)

    def slow_down(self, interval: float) -> None:
        """Leave at least `interval` seconds between two requests of all tasks that share this host."""
        self._interval = max(self._interval, interval / self._share)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the host, with its delay, budget and rules, in memory inside the `with` block."""
        self.users += 1
        try:
            yield
        finally:
            self.users -= 1

    @asynccontextmanager
    async def request(self, slots: asyncio.Semaphore) -> AsyncIterator[None]:
        """Wait for the host and for one of the `slots` of the task, and hold a slot of both for the time of one request.

        The budget of the host decreases inside the `with` block. Raises Rejected `host_too_slow`.
        """
        with self.in_use():
            self.check_budget()
            async with self._slots:
                await self._start(slots)
                try:
                    with self.budget.running():
                        yield
                finally:
                    slots.release()

    async def _start(self, slots: asyncio.Semaphore) -> None:
        """Acquire a slot of the task at a time when the next request to the host is due.

        The time is checked with the slot in hand: requests that wait for a slot do not all start when slots become free,
        and they obey a pause that was set meanwhile. One request of a host waits for a slot at a time.
        """
        async with self._turn:
            while True:
                self.check_budget()
                wait = self._next - time.monotonic()
                if wait > 0:
                    with self.budget.running():
                        await asyncio.sleep(min(wait, self.budget.left))
                    continue
                await slots.acquire()
                now = time.monotonic()
                if now >= self._next and self.budget.left:
                    self._next = now + self._interval
                    return
                slots.release()

    def check_budget(self) -> None:
        """Raise Rejected `host_too_slow` if the budget is used up."""
        if not self.budget.left:
            raise Rejected(
                "host_too_slow",
                f"{self.name} used up its {self.budget.seconds:g} s (fetch.host_budget_seconds); "
                "run again with --retry host_too_slow",
            )


class Hosts:
    """The hosts of recent requests."""

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
        """Describe the hosts that delay the run, the slowest first: name, and seconds used of the budget."""
        used = [
            (host.budget.seconds - host.budget.left, name, host.budget.seconds)
            for name, host in self._hosts.items()
            if host.users and host.budget.left < (1 - SLOW_SHARE) * host.budget.seconds
        ]
        return [
            f"{name} ({seconds:,.0f} of {budget:,.0f} s)"
            for seconds, name, budget in sorted(used, reverse=True)[:SLOW_SHOWN]
        ]

    def _evict(self) -> None:
        """Evict the least recently used idle hosts above MAX_HOSTS."""
        for key in list(islice(self._hosts, max(0, len(self._hosts) - MAX_HOSTS))):
            if not self._hosts[key].users:
                del self._hosts[key]
