"""Politeness: how many requests go to one host at once, how soon after each other, and after what wait."""

import asyncio
import time
from collections import OrderedDict
from email.utils import parsedate_to_datetime
from itertools import islice
from types import TracebackType

from yarl import URL

from pipeline.config import IngestConfig
from pipeline.ingest.robots import Rules

MAX_HOSTS = 2000  # remembered at once, if no more are in use


class Host:
    """One host (scheme, name and port); `async with host` waits for a turn and holds it."""

    def __init__(self, config: IngestConfig) -> None:
        # Its robots.txt and tdmrep.json by their paths: on their way or here, and how long that may be used.
        self.rules: dict[str, tuple[asyncio.Task[Rules], float]] = {}
        self._slots = asyncio.Semaphore(config.host_fetches)
        self._interval = 1 / config.host_per_second if config.host_per_second else 0.0
        self._next = 0.0
        self.users = 0

    def pause(self, seconds: float) -> None:
        """No request starts before so many seconds have passed."""
        self._next = max(self._next, asyncio.get_running_loop().time() + seconds)

    def slow_down(self, interval: float) -> None:
        """Leave at least so many seconds between two requests."""
        self._interval = max(self._interval, interval)

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
    """The hosts that were asked lately."""

    def __init__(self, config: IngestConfig) -> None:
        self._config = config
        self._hosts: OrderedDict[URL, Host] = OrderedDict()

    def of(self, url: URL) -> Host:
        """The host of a URL."""
        origin = url.origin()
        host = self._hosts.get(origin)
        if host is None:
            host = self._hosts[origin] = Host(self._config)
            self._forget()
        self._hosts.move_to_end(origin)
        return host

    def _forget(self) -> None:
        """Of as many as are too many, those that were asked longest ago, forget who is idle."""
        for origin in list(islice(self._hosts, max(0, len(self._hosts) - MAX_HOSTS))):
            if not self._hosts[origin].users:
                del self._hosts[origin]


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
