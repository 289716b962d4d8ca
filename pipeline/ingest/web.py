"""Asks the web for one URL: guarded, polite, with deadlines, a byte cap, and a bounded number of tries."""

import asyncio
import random
import time
import zlib
from collections.abc import Callable, Coroutine
from typing import IO, Any

import aiohttp
from yarl import URL

from pipeline.config import IngestConfig
from pipeline.ingest.body import Transient, read_body
from pipeline.ingest.guard import PrivateAddress, check_url, guarded_connector, open_connector
from pipeline.ingest.hosts import Host, Hosts, retry_after
from pipeline.ingest.robots import PRODUCT, Rules, forbidding_tag, reservations
from pipeline.rejections import Asked, Rejected

MAX_REDIRECTS = 5
BACKOFF_SECONDS = 1.0  # the first wait is up to this, the next up to twice as long, …
# How long robots.txt, or that it could not be had, is remembered.
RULES_SECONDS, NO_RULES_SECONDS = 24 * 3600, 600
TDM_FILE = "/.well-known/tdmrep.json"
_NOBODY = ("private_address", "unknown_host", "connection_failed", "tls_failed", "timeout")
_REDIRECTS = (301, 302, 303, 307, 308)


class Web:
    """Fetches URLs. Lives in one event loop.

    `room` bounds the bodies that are on their way or not yet taken over: who has been given a body releases it.
    """

    def __init__(self, config: IngestConfig, room: asyncio.Semaphore) -> None:
        self._config, self._room = config, room
        self._hosts = Hosts(config)
        self._session = aiohttp.ClientSession(
            connector=open_connector() if config.allow_private_hosts else guarded_connector(),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=config.timeout_seconds, sock_read=config.timeout_seconds
            ),
            headers={
                "User-Agent": f"{PRODUCT}/0.1 (builds datasets of images for research; +{config.contact})",
                "Accept": "image/*",
                "Accept-Encoding": "identity",
            },
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # unpacking is done here, with a bound
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def fetch(self, url: str) -> tuple[IO[bytes], Asked]:
        """The body at `url`, from its start, and how it was had. Raises Rejected, which tells that, too."""
        asked = Asked("", attempts=0)
        try:
            body = await self._patiently(check_url(url), asked, is_image=True)
            if not asked.bytes_seen:
                self._room.release()
                raise Rejected("empty", f"{url}: HTTP {asked.status} without a body")
            return body, asked
        except Rejected as rejected:
            rejected.asked = asked
            raise

    async def _patiently(self, url: URL, asked: Asked, is_image: bool) -> IO[bytes]:
        """Try it as often as the configuration allows: back-off with full jitter, or what the server asks for."""
        asked.host = url.host or ""
        while True:
            asked.attempts += 1
            try:
                return await self._follow(url, asked, is_image)
            except Transient as rejected:
                if (
                    asked.attempts >= self._config.tries
                    or (rejected.wait or 0) > self._config.max_wait_seconds
                ):
                    raise
                most = BACKOFF_SECONDS * 2 ** (asked.attempts - 1)
                wait = random.uniform(0, most) if rejected.wait is None else rejected.wait
            await asyncio.sleep(min(wait, self._config.max_wait_seconds))

    async def _follow(self, url: URL, asked: Asked, is_image: bool) -> IO[bytes]:
        """One try, with its redirects. The deadline is for the asking, not for waiting until it is our turn."""
        until = asked.seconds + self._config.deadline_seconds
        for _ in range(MAX_REDIRECTS + 1):
            host = self._hosts.of(url)
            if is_image and self._config.robots_txt and not await self._may_be_fetched(host, url):
                raise Rejected("robots_disallowed", f"{url}: forbidden by robots.txt")
            reserved = is_image and self._config.tdm_reservation and not await self._may_be_mined(host, url)
            async with host:
                found = await self._hop(url, host, asked, until - asked.seconds, is_image, reserved)
            if not isinstance(found, URL):
                return found
            url = found
        raise Rejected("too_many_redirects", f"{url}: more than {MAX_REDIRECTS} redirects")

    async def _hop(
        self, url: URL, host: Host, asked: Asked, seconds: float, is_image: bool, reserved: bool
    ) -> IO[bytes] | URL:
        """One request: a body, whose room stays taken, or where it leads."""
        await self._room.acquire()
        found: IO[bytes] | URL = url
        asked.status, asked.bytes_seen = None, 0
        start = time.monotonic()
        try:
            async with asyncio.timeout(seconds), self._session.get(url, allow_redirects=False) as response:
                asked.status = response.status
                found = await self._answer(response, host, asked, is_image, reserved)
            return found
        # ValueError: what the client's parsers and codecs raise about odd answers
        except (aiohttp.ClientError, OSError, ValueError, zlib.error) as error:
            raise _rejection(url, error, asked) from error
        finally:
            asked.seconds = round(asked.seconds + time.monotonic() - start, 3)
            if isinstance(found, URL):
                self._room.release()

    async def _answer(
        self, response: aiohttp.ClientResponse, host: Host, asked: Asked, is_image: bool, reserved: bool
    ) -> IO[bytes] | URL:
        url, status, headers = response.url, response.status, response.headers
        if status in _REDIRECTS and "Location" in headers:
            return check_url(headers["Location"], url)
        if status in (404, 410):
            raise Rejected("not_found", f"{url}: HTTP {status}")
        if status == 429 or 500 <= status < 600:
            rejected = Transient("rate_limited" if status == 429 else "server_error", f"{url}: HTTP {status}")
            rejected.wait = retry_after(headers.get("Retry-After"))
            host.pause(min(rejected.wait or 0, self._config.max_wait_seconds))
            raise rejected
        if status != 200:
            raise Rejected("http_status", f"{url}: HTTP {status}")
        if is_image:
            self._check_wishes(response, reserved)
        return await read_body(response, asked, self._config.max_bytes)

    def _check_wishes(self, response: aiohttp.ClientResponse, reserved: bool) -> None:
        """The header of an answer has the last word on what the host's file reserves."""
        headers = response.headers
        if self._config.x_robots_tag and (word := forbidding_tag(headers.getall("X-Robots-Tag", ()))):
            raise Rejected("opted_out", f"{response.url}: X-Robots-Tag: {word}")
        told = headers.get("TDM-Reservation", "").strip()
        if self._config.tdm_reservation and (told == "1" or (reserved and told != "0")):
            where = "TDM-Reservation: 1" if told else f"reserved by {TDM_FILE}"
            raise Rejected("opted_out", f"{response.url}: {where}")

    async def _may_be_fetched(self, host: Host, url: URL) -> bool:
        return (await self._rules(host, url, "/robots.txt", self._read_robots)).allow(str(url))

    async def _may_be_mined(self, host: Host, url: URL) -> bool:
        return (await self._rules(host, url, TDM_FILE, self._read_reservations)).allow(str(url))

    async def _rules(
        self, host: Host, url: URL, path: str, read: Callable[[Host, URL], Coroutine[Any, Any, Rules]]
    ) -> Rules:
        """What a file of a host says; many may wait for one request."""
        now = time.monotonic()
        if path not in host.rules or now > host.rules[path][1]:
            task = asyncio.ensure_future(read(host, url.origin().with_path(path)))
            host.rules[path] = task, now + RULES_SECONDS
        task, until = host.rules[path]
        try:
            return task.result() if task.done() else await asyncio.shield(task)
        except Rejected as rejected:
            host.rules[path] = task, min(until, now + NO_RULES_SECONDS)
            raise Rejected(rejected.code, rejected.detail) from rejected

    async def _read_reservations(self, _: Host, url: URL) -> Rules:
        """A tdmrep.json that cannot be had reserves nothing; where nobody answers at all, as with robots.txt."""
        try:
            with await self._patiently(url, Asked("", attempts=0), is_image=False) as body:
                self._room.release()
                return reservations(body.read())
        except Rejected as rejected:
            if rejected.code in _NOBODY:
                raise
            return Rules(b"")

    async def _read_robots(self, host: Host, url: URL) -> Rules:
        """RFC 9309: no robots.txt (4xx) allows everything, one that cannot be had (429, 5xx) nothing.

        Where nobody answers at all, the pictures of the host would fail in the same way: so they do, unasked.
        """
        asked = Asked("", attempts=0)
        try:
            with await self._patiently(url, asked, is_image=False) as body:
                self._room.release()
                rules = Rules(body.read())
        except Rejected as rejected:
            if rejected.code in ("not_found", "http_status", "too_many_redirects"):
                return Rules(b"")
            hidden = rejected.code in ("server_error", "rate_limited", "too_large", "bad_response")
            raise Rejected("robots_disallowed" if hidden else rejected.code, rejected.detail) from rejected
        host.slow_down(min(rules.delay, self._config.max_wait_seconds))
        return rules


def _rejection(url: URL, error: Exception, asked: Asked) -> Rejected:
    """What an exception of the client, or of the parts it is made of, means for the row."""
    text = f"{url}: {str(error) or type(error).__name__}"
    reason = getattr(error, "os_error", error)
    if isinstance(reason, PrivateAddress):
        return Rejected("private_address", f"{url}: {reason}")
    match error:
        case TimeoutError():
            return Rejected("timeout", f"{url}: too slow, {asked.bytes_seen} bytes so far")
        case aiohttp.ClientConnectorDNSError():
            return Rejected("unknown_host", text)
        case aiohttp.ClientSSLError():
            return Rejected("tls_failed", text)
        case aiohttp.InvalidURL():
            return Rejected("bad_location", text)
        case aiohttp.ClientPayloadError():
            return Transient("incomplete", text)
        case aiohttp.ClientConnectionError() | OSError():
            return Transient("incomplete" if asked.bytes_seen else "connection_failed", text)
        case _:
            return Rejected("bad_response", text)
