"""Fetch one URL: guarded and polite, with deadlines, a byte limit, and a bounded number of attempts."""

import asyncio
import hashlib
import ssl
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import IO

from common.errors import DataError
from pipeline.config import FetchConfig
from pipeline.fetch.body import UNREADABLE, TemporaryRejection, read_body
from pipeline.fetch.connections import Connections, UnknownHost
from pipeline.fetch.host_limits import Host, HostLimits, Hosts
from pipeline.fetch.http1 import Headers, Response
from pipeline.fetch.policies import TDM_FILE, Policies
from pipeline.fetch.public_addresses import PrivateAddress
from pipeline.fetch.response_headers import is_whole, kept_headers
from pipeline.fetch.retries import RetryPolicy, is_temporary, retry_after
from pipeline.fetch.robots import MAX_POLICY_BYTES, PRODUCT, forbidding_tag
from pipeline.fetch.urls import Url, host_key, parse_location, parse_url
from pipeline.rejections import Rejected, RequestStats, printable

MAX_REDIRECTS = 5
BACKOFF_SECONDS = 1.0  # upper bound of the wait before the second attempt
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class FetchedBody:
    """A body, from its first byte, and what came with it. The caller closes the body."""

    body: IO[bytes]
    asked: RequestStats
    sha256: str
    headers: dict[str, str | None]
    """The columns `final_url`, `license`, `x_robots_tag`, `tdm_reservation` and `tdm_policy` of the table `fetched`."""


@dataclass(frozen=True)
class FetchRequest:
    """A URL to fetch, or one whose redirects have led to `target` so far, after `hops` of them."""

    url: str
    target: str = ""
    hops: int = 0
    asked: RequestStats | None = None


class RedirectToOtherTask(Exception):
    """A redirect leads to a host that another task is responsible for."""

    def __init__(self, target: Url, hops: int, asked: RequestStats) -> None:
        super().__init__(str(target))
        self.target, self.hops, self.asked = target, hops, asked


class UrlFetcher:
    """Fetches URLs within one event loop.

    limits: how often each host may be asked by this instance. responsible: whether this instance may ask a host, by its
    key; a redirect to another one raises Elsewhere.
    """

    def __init__(
        self,
        config: FetchConfig,
        max_bytes: int,
        limits: HostLimits,
        responsible: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._config, self._max_bytes, self._responsible = config, max_bytes, responsible
        self._retries = RetryPolicy(config.max_attempts, config.max_retry_after_seconds, BACKOFF_SECONDS)
        self._room = asyncio.Semaphore(config.concurrency)
        self.hosts = Hosts(limits)
        self.policies = Policies(config, self.hosts, self._read)
        self._connections = Connections(
            {
                "User-Agent": f"{PRODUCT}/0.1 (builds datasets of images for research; +{config.contact})",
                "Accept-Encoding": "identity",
            },
            config.timeout_seconds,
            guarded=not config.allow_private_hosts,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._connections.close()

    async def fetch(self, request: FetchRequest) -> FetchedBody:
        """Return the body of a URL. Raises Rejected, with what was asked, or Elsewhere."""
        asked = replace(request.asked) if request.asked else RequestStats("", attempts=0)
        try:
            url = first = parse_url(request.url)
            asked.host = url.host
            if request.target:
                url = parse_url(request.target)
            answer = await self._retry(url, asked, is_image=True, hops=request.hops)
            if not asked.bytes_seen:
                answer.body.close()
                raise Rejected("empty", f"{url}: HTTP {asked.status} without a body")
            if answer.headers["final_url"] == str(first):
                answer.headers["final_url"] = None
            return answer
        except Rejected as rejected:
            rejected.asked = asked
            raise
        except (DataError, RedirectToOtherTask):
            raise
        except Exception as error:  # a bug, which must not cost other rows
            text = f"{request.url}: unexpected {type(error).__name__}: {error}"
            raise Rejected("bad_response", text, asked) from error

    async def _retry(self, url: Url, asked: RequestStats, is_image: bool, hops: int = 0) -> FetchedBody:
        """Make attempts until one succeeds, or fails for good, or the retry policy gives up."""
        while True:
            asked.attempts += 1
            try:
                return await self._follow(url, asked, is_image, hops)
            except TemporaryRejection as rejected:
                wait = self._retries.wait(asked.attempts, rejected.wait)
                if wait is None:
                    raise
            await asyncio.sleep(wait)

    async def _follow(self, url: Url, asked: RequestStats, is_image: bool, hops: int) -> FetchedBody:
        """Make one attempt, redirects included. The deadline does not count the wait for our turn."""
        until = asked.seconds + self._config.deadline_seconds
        for hop in range(hops, MAX_REDIRECTS + 1):
            if is_image and not self._responsible(host_key(url)):
                raise RedirectToOtherTask(url, hop, asked)
            if is_image and not await self.policies.may_be_fetched(url):
                raise Rejected("robots_disallowed", f"{url}: forbidden by robots.txt")
            reserved = is_image and not await self.policies.may_be_mined(url)
            async with (host := self.hosts.get(url)):
                found = await self._hop(url, host, asked, until - asked.seconds, is_image, reserved)
            if isinstance(found, FetchedBody):
                return found
            url = found
        raise Rejected("too_many_redirects", f"{url}: more than {MAX_REDIRECTS} redirects")

    async def _hop(
        self, url: Url, host: Host, asked: RequestStats, seconds: float, is_image: bool, reserved: bool
    ) -> FetchedBody | Url:
        """Send one request; return the answer, or the URL that it redirects to."""
        async with host.request(self._room):
            asked.status, asked.bytes_seen = None, 0
            start = time.monotonic()
            try:
                async with (
                    asyncio.timeout(seconds),
                    self._connections.get(url, "image/*, */*;q=0.1" if is_image else "*/*") as response,
                ):
                    asked.status = response.status
                    found = await self._answer(response, url, host, asked, is_image, reserved)
                    host.budget.give_back()
                    return found
            except Rejected as rejected:
                if not isinstance(rejected, TemporaryRejection):
                    host.budget.give_back()
                raise
            except DataError:  # ours, and a ValueError
                raise
            except (OSError, EOFError, ValueError, zlib.error) as error:
                raise _rejection(url, error, asked) from error
            finally:
                asked.seconds = round(asked.seconds + time.monotonic() - start, 3)

    async def _answer(
        self, response: Response, url: Url, host: Host, asked: RequestStats, is_image: bool, reserved: bool
    ) -> FetchedBody | Url:
        status, headers = response.status, response.headers
        if status in _REDIRECTS and (location := headers.get("Location")):
            return parse_location(location, url)
        if status in (404, 410):
            raise Rejected("not_found", f"{url}: HTTP {status}")
        if is_temporary(status):
            rejected = TemporaryRejection(
                "rate_limited" if status == 429 else "server_error", f"{url}: HTTP {status}"
            )
            rejected.wait = retry_after(headers.get("Retry-After"))
            host.pause(min(rejected.wait or 0, self._config.max_retry_after_seconds))
            raise rejected
        if not 200 <= status < 300 or (is_image and not is_whole(response)):
            raise Rejected("http_status", f"{url}: HTTP {status}")
        try:
            if not is_image:
                return FetchedBody(await _read_policy(response, asked), asked, "", {})
            self._check_wishes(headers, reserved)
            body = await read_body(response, asked, self._max_bytes)
        except Rejected as rejected:
            rejected.detail = printable(f"{url}: {rejected.detail}")
            raise
        digest = hashlib.file_digest(body, "sha256").hexdigest()  # type: ignore[arg-type]  # spooled
        return FetchedBody(body, asked, digest, kept_headers(url, headers))

    def _check_wishes(self, headers: Headers, reserved: bool) -> None:
        """The header of an answer has the last word on what the host's file reserves."""
        if self._config.x_robots_tag and (word := forbidding_tag(headers.all("X-Robots-Tag"))):
            raise Rejected("opted_out", f"X-Robots-Tag: {word}")
        told = headers.get("TDM-Reservation")
        if self._config.tdm_reservation and (told == "1" or (reserved and told != "0")):
            where = "TDM-Reservation: 1" if told else f"reserved by {TDM_FILE}"
            raise Rejected("opted_out", where)

    async def _read(self, url: Url) -> bytes:
        with (await self._retry(url, RequestStats("", attempts=0), is_image=False)).body as body:
            return body.read()


async def _read_policy(response: Response, asked: RequestStats) -> IO[bytes]:
    packed = UNREADABLE.intersection(response.headers.words("Content-Encoding"))
    if packed:  # unreadable rules must not look like rules that allow everything
        raise Rejected(
            "bad_response", f"content-encoding {', '.join(sorted(packed))}, which was not asked for"
        )
    return await read_body(response, asked, MAX_POLICY_BYTES, cut=True)


def _rejection(url: Url, error: Exception, asked: RequestStats) -> Rejected:
    """What an exception means for the row."""
    text = f"{url}: {str(error) or type(error).__name__}"
    match error:
        case PrivateAddress():
            return Rejected("private_address", text)
        case UnknownHost():
            return Rejected("unknown_host", text)
        case TimeoutError():
            return Rejected("timeout", f"{url}: too slow, {asked.bytes_seen} bytes so far")
        case ssl.SSLError():
            return Rejected("tls_failed", text)
        case OSError() | EOFError():
            return TemporaryRejection("incomplete" if asked.status else "connection_failed", text)
        case _:
            return Rejected("bad_response", text)
