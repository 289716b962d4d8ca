"""Limit requests to each host: how many at once, how soon after each other, and when after a pause."""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from itertools import islice
from types import TracebackType

from yarl import URL

from pipeline.config import IngestConfig
from pipeline.fetch.robots import Rules

MAX_HOSTS = 2000  # remembered at once, unless more are in use


def host_key(url: URL) -> str:
    """Return what limits apply to: the host name, whatever the scheme and the port."""
    return (url.raw_host or "").rstrip(".").lower()


@dataclass(frozen=True)
class Limits:
    """Requests to one host: `fetches` at once, and `interval` seconds between the starts of two.

    share: 1/k where k tasks ask one host; other rules of the host (Crawl-delay) are stretched accordingly.
    """

    fetches: int
    interval: float
    share: float = 1.0

    @classmethod
    def of(cls, config: IngestConfig, index: int = 0, count: int = 1) -> "Limits":
        """Return share `index` of `count` of the configured limits: `count` such tasks together keep them."""
        fetches = config.host_fetches // count + (index < config.host_fetches % count)
        interval = count / config.host_per_second if config.host_per_second else 0.0
        return cls(fetches, interval, 1 / count)


class Host:
    """One host; `async with host` waits for a turn and holds it."""

    def __init__(self, limits: Limits) -> None:
        # Policy files (robots.txt, tdmrep.json) by URL: the task that reads them, and when they expire.
        self.rules: dict[URL, tuple[asyncio.Future[Rules], float]] = {}
        self._slots = asyncio.Semaphore(limits.fetches)
        self._share = limits.share
        self._interval = limits.interval
        self._next = 0.0
        self.users = 0

    def pause(self, seconds: float) -> None:
        """Start no request for a number of seconds."""
        self._next = max(self._next, asyncio.get_running_loop().time() + seconds)

    def slow_down(self, interval: float) -> None:
        """Leave at least `interval` seconds between two requests of all tasks that ask this host."""
        self._interval = max(self._interval, interval / self._share)

    async def __aenter__(self) -> None:
        self.users += 1
        try:
            await self._slots.acquire()
            try:
                now = asyncio.get_running_loop().time()
                while self._next > now:  # a pause may come while we wait
                    await asyncio.sleep(self._next - now)
                    now = asyncio.get_running_loop().time()
                self._next = now + self._interval
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


class Hosts:
    """The hosts that were asked recently."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._hosts: OrderedDict[str, Host] = OrderedDict()

    def of(self, url: URL) -> Host:
        """Return the host of a URL."""
        key = host_key(url)
        host = self._hosts.get(key)
        if host is None:
            host = self._hosts[key] = Host(self._limits)
            self._evict()
        self._hosts.move_to_end(key)
        return host

    def _evict(self) -> None:
        """Evict the least recently used idle hosts above MAX_HOSTS."""
        for key in list(islice(self._hosts, max(0, len(self._hosts) - MAX_HOSTS))):
            if not self._hosts[key].users:
                del self._hosts[key]


def retry_after(value: str | None) -> float | None:
    """The seconds to wait that a Retry-After header asks for, by a number or a date (RFC 9110, section 10.2.3).

    None where there is no such header, or nothing in it that can be read.
    """
    if value is None:
        return None
    if value.isdecimal() and value.isascii():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
