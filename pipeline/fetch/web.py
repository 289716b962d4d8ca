"""Fetch one URL: guarded and polite, with deadlines, a byte limit, and a bounded number of attempts."""

import asyncio
import hashlib
import random
import time
import zlib
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import IO, Any

import aiohttp
from yarl import URL

from pipeline.config import IngestConfig
from pipeline.fetch.body import Transient, read_body
from pipeline.fetch.guard import PrivateAddress, check_url, guarded_connector, open_connector
from pipeline.fetch.hosts import Host, Hosts, Limits, host_key, retry_after
from pipeline.fetch.robots import PRODUCT, Rules, forbidding_tag, reservations
from pipeline.rejections import Asked, Rejected, printable

MAX_REDIRECTS = 5
BACKOFF_SECONDS = 1.0  # the first wait is up to this, the next up to twice as long, …
# How long robots.txt, or that it could not be had, is remembered.
RULES_SECONDS, NO_RULES_SECONDS = 24 * 3600, 600
TDM_FILE = "/.well-known/tdmrep.json"
_NOBODY = ("private_address", "unknown_host", "connection_failed", "tls_failed", "timeout")
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class Answer:
    """A body, from its first byte, and what came with it. The caller closes the body."""

    body: IO[bytes]
    asked: Asked
    sha256: str
    headers: dict[str, str | None]
    """The columns `location`, `license`, `x_robots_tag`, `tdm_reservation` and `tdm_policy` of the table `fetched`."""


@dataclass(frozen=True)
class Request:
    """A URL to fetch, or one whose redirects have led to `target` so far, after `hops` of them."""

    url: str
    target: str = ""
    hops: int = 0
    asked: Asked | None = None


@dataclass(frozen=True)
class Policy:
    """A policy file of a host: its text, or the rejection that stands in for it."""

    file: str
    text: bytes = b""
    code: str = ""
    detail: str = ""


class Elsewhere(Exception):
    """A redirect leads to a host that another task is responsible for."""

    def __init__(self, target: URL, hops: int, asked: Asked) -> None:
        super().__init__(str(target))
        self.target, self.hops, self.asked = target, hops, asked


class Web:
    """Fetches URLs within one event loop.

    limits: how often each host may be asked by this instance. responsible: whether this instance may ask a host, by its
    key; a redirect to another one raises Elsewhere.
    """

    def __init__(
        self, config: IngestConfig, limits: Limits, responsible: Callable[[str], bool] = lambda _: True
    ) -> None:
        self._config, self._responsible = config, responsible
        self._room = asyncio.Semaphore(config.fetches)
        self.hosts = Hosts(limits)
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

    async def fetch(self, request: Request) -> Answer:
        """Return the body of a URL. Raises Rejected, with what was asked, or Elsewhere."""
        asked = replace(request.asked) if request.asked else Asked("", attempts=0)
        try:
            url = check_url(request.url)
            asked.host = url.host or ""
            if request.target:
                url = check_url(request.target)
            answer = await self._retry(url, asked, is_image=True, hops=request.hops)
            if not asked.bytes_seen:
                answer.body.close()
                raise Rejected("empty", f"{url}: HTTP {asked.status} without a body")
            if answer.headers["location"] == str(check_url(request.url)):
                answer.headers["location"] = None
            return answer
        except Rejected as rejected:
            rejected.asked = asked
            raise

    async def read_policies(self, urls: Iterable[str]) -> list[Policy]:
        """Ask the hosts of some URLs for their policy files, once each, and return what they said."""
        found: dict[URL, asyncio.Future[Rules]] = {}
        for url in {check_url(url).origin() for url in urls}:
            host = self.hosts.of(url)
            with suppress(Rejected):  # the future keeps it
                if self._config.robots_txt:
                    await self._may_be_fetched(host, url)
            with suppress(Rejected):
                if self._config.tdm_reservation:
                    await self._may_be_mined(host, url)
            found |= {file: task for file, (task, _) in host.rules.items()}
        return [_policy(str(file), task) for file, task in found.items()]

    def adopt(self, policies: Iterable[Policy]) -> None:
        """Take over policy files that another task has read, instead of asking for them."""
        until = time.monotonic() + RULES_SECONDS
        for policy in policies:
            file = URL(policy.file)
            host = self.hosts.of(file)
            task: asyncio.Future[Rules] = asyncio.get_running_loop().create_future()
            if policy.code:
                task.set_exception(Rejected(policy.code, policy.detail))
                task.exception()  # retrieved: asyncio would warn otherwise
            else:
                task.set_result(rules := Rules(policy.text))
                self._slow_down(host, rules)
            host.rules[file] = task, until

    async def _retry(self, url: URL, asked: Asked, is_image: bool, hops: int = 0) -> Answer:
        """Try as often as the configuration allows: back off with full jitter, or wait as long as the server asks."""
        while True:
            asked.attempts += 1
            try:
                return await self._follow(url, asked, is_image, hops)
            except Transient as rejected:
                if (
                    asked.attempts >= self._config.tries
                    or (rejected.wait or 0) > self._config.max_wait_seconds
                ):
                    raise
                most = BACKOFF_SECONDS * 2 ** (asked.attempts - 1)
                wait = random.uniform(0, most) if rejected.wait is None else rejected.wait
            await asyncio.sleep(min(wait, self._config.max_wait_seconds))

    async def _follow(self, url: URL, asked: Asked, is_image: bool, hops: int) -> Answer:
        """Make one attempt, redirects included. The deadline does not count the wait for our turn."""
        until = asked.seconds + self._config.deadline_seconds
        for hop in range(hops, MAX_REDIRECTS + 1):
            if is_image and not self._responsible(host_key(url)):
                raise Elsewhere(url, hop, asked)
            host = self.hosts.of(url)
            if is_image and self._config.robots_txt and not await self._may_be_fetched(host, url):
                raise Rejected("robots_disallowed", f"{url}: forbidden by robots.txt")
            reserved = is_image and self._config.tdm_reservation and not await self._may_be_mined(host, url)
            async with host:
                found = await self._hop(url, host, asked, until - asked.seconds, is_image, reserved)
            if isinstance(found, Answer):
                return found
            url = found
        raise Rejected("too_many_redirects", f"{url}: more than {MAX_REDIRECTS} redirects")

    async def _hop(
        self, url: URL, host: Host, asked: Asked, seconds: float, is_image: bool, reserved: bool
    ) -> Answer | URL:
        """Send one request; return the answer, or the URL that it redirects to."""
        async with self._room:
            asked.status, asked.bytes_seen = None, 0
            start = time.monotonic()
            try:
                async with (
                    asyncio.timeout(seconds),
                    self._session.get(url, allow_redirects=False) as response,
                ):
                    asked.status = response.status
                    return await self._answer(response, host, asked, is_image, reserved)
            # ValueError: what the client's parsers and codecs raise about odd answers
            except (aiohttp.ClientError, OSError, ValueError, zlib.error) as error:
                raise _rejection(url, error, asked) from error
            finally:
                asked.seconds = round(asked.seconds + time.monotonic() - start, 3)

    async def _answer(
        self, response: aiohttp.ClientResponse, host: Host, asked: Asked, is_image: bool, reserved: bool
    ) -> Answer | URL:
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
        body = await read_body(response, asked, self._config.max_bytes)
        digest = hashlib.file_digest(body, "sha256").hexdigest() if is_image else ""  # type: ignore[arg-type]  # spooled
        return Answer(body, asked, digest, _kept_headers(response) if is_image else {})

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
        """Return the rules of a policy file; any number of tasks may wait for one request."""
        now = time.monotonic()
        file = url.origin().with_path(path)  # RFC 9309, section 2.3: a file for each scheme, host and port
        if file not in host.rules or now > host.rules[file][1]:
            task: asyncio.Future[Rules] = asyncio.ensure_future(read(host, file))
            host.rules[file] = task, now + RULES_SECONDS
        task, until = host.rules[file]
        try:
            return task.result() if task.done() else await asyncio.shield(task)
        except Rejected as rejected:
            host.rules[file] = task, min(until, now + NO_RULES_SECONDS)
            raise Rejected(rejected.code, rejected.detail) from rejected

    async def _read_reservations(self, _: Host, url: URL) -> Rules:
        """A tdmrep.json that cannot be had reserves nothing; where nobody answers at all, as with robots.txt."""
        try:
            return reservations(await self._read(url))
        except Rejected as rejected:
            if rejected.code in _NOBODY:
                raise
            return Rules(b"")

    async def _read_robots(self, host: Host, url: URL) -> Rules:
        """RFC 9309: no robots.txt (4xx) allows everything, one that cannot be had (429, 5xx) nothing.

        Where nobody answers at all, the pictures of the host would fail in the same way: so they do, unasked.
        """
        try:
            rules = Rules(await self._read(url))
        except Rejected as rejected:
            if rejected.code in ("not_found", "http_status", "too_many_redirects"):
                return Rules(b"")
            hidden = rejected.code in ("server_error", "rate_limited", "too_large", "bad_response")
            raise Rejected("robots_disallowed" if hidden else rejected.code, rejected.detail) from rejected
        self._slow_down(host, rules)
        return rules

    def _slow_down(self, host: Host, rules: Rules) -> None:
        host.slow_down(min(rules.delay, self._config.max_wait_seconds))

    async def _read(self, url: URL) -> bytes:
        with (await self._retry(url, Asked("", attempts=0), is_image=False)).body as body:
            return body.read()


def crawl_delay(policies: Iterable[Policy]) -> float:
    """Return the longest Crawl-delay of some policy files, in seconds."""
    return max((Rules(policy.text).delay for policy in policies if not policy.code), default=0.0)


def _policy(file: str, task: "asyncio.Future[Rules]") -> Policy:
    error = task.exception()
    if isinstance(error, Rejected):
        return Policy(file, code=error.code, detail=error.detail)
    return Policy(file, text=task.result().text)


def _kept_headers(response: aiohttp.ClientResponse) -> dict[str, str | None]:
    """What an answer says about the use of its body."""
    headers = response.headers

    def joined(name: str) -> str | None:
        return printable(", ".join(headers.getall(name, ()))) or None

    license_link = None
    with suppress(ValueError, KeyError):  # a header that breaks its own rules costs no picture
        license_link = response.links["license"]["url"] if "Link" in headers else None
    return {
        "location": str(response.url),
        "license": printable(str(license_link)) if license_link else None,
        "x_robots_tag": joined("X-Robots-Tag"),
        "tdm_reservation": joined("TDM-Reservation"),
        "tdm_policy": joined("TDM-Policy"),
    }


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
