"""Fetch one URL from a public address: politely, with deadlines, a byte limit and a limited number of attempts."""

import asyncio
import hashlib
import ssl
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO
from typing import IO

from common.errors import DataError
from common.extras import user_agent
from pipeline.config import FetchConfig
from pipeline.fetch.body import UNREADABLE, TemporaryRejection, read_body
from pipeline.fetch.connections import Connections, UnknownHost
from pipeline.fetch.host_limits import Host, HostLimits, Hosts
from pipeline.fetch.http1 import Headers, Response
from pipeline.fetch.policies import TDM_FILE, Policies
from pipeline.fetch.public_addresses import PrivateAddress
from pipeline.fetch.response_headers import is_whole, kept_headers, strong_etag
from pipeline.fetch.retries import RetryPolicy, is_temporary, retry_after
from pipeline.fetch.robots import MAX_POLICY_BYTES, forbidding_tag
from pipeline.fetch.urls import Url, host_key, parse_location, parse_url
from pipeline.rejections import Rejected, RequestStats, printable

MAX_REDIRECTS = 5
BACKOFF_SECONDS = 1.0  # upper bound of the wait before the second attempt
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class FetchedBody:
    """A body, positioned at its start, with its digest and the metrics of its requests. The caller closes it."""

    body: IO[bytes]
    stats: RequestStats
    sha256: str
    headers: dict[str, str | None]
    """The columns `final_url`, `license`, `x_robots_tag`, `tdm_reservation` and `tdm_policy` of the table `fetched`."""
    etag: str | None = None
    """The strong ETag of the body."""
    not_modified: bool = False
    """Whether the host confirmed a known version (HTTP 304); `body` is then empty, and `sha256` that of the version."""


@dataclass(frozen=True)
class KnownVersion:
    """A body that `url`, the end of all redirects, gave before: its strong ETag and its digest."""

    url: str
    etag: str
    sha256: str


@dataclass(frozen=True)
class FetchRequest:
    """A URL to fetch; another task may have followed `hops` redirects of it, to `target`, with these metrics.

    known: a version that the host may confirm instead of sending it; not handed to other tasks.
    """

    url: str
    target: str = ""
    hops: int = 0
    stats: RequestStats | None = None
    known: KnownVersion | None = None


class RedirectToOtherTask(Exception):
    """A redirect leads to a host that another task is responsible for."""

    def __init__(self, target: Url, hops: int, stats: RequestStats) -> None:
        super().__init__(str(target))
        self.target, self.hops, self.stats = target, hops, stats


class UrlFetcher:
    """Fetches URLs within one event loop.

    max_bytes: limit of a body. limits: limits of each host in this instance. responsible: whether this instance may
    send requests to a host, given its key; a redirect to another host raises RedirectToOtherTask. Raises DataError if there
    is no contact address, since it is sent with every request.
    """

    def __init__(
        self,
        config: FetchConfig,
        max_bytes: int,
        limits: HostLimits,
        responsible: Callable[[str], bool] = lambda _: True,
    ) -> None:
        if not config.contact and not config.allow_private_hosts:
            raise DataError(
                "the lists have URLs, but fetch.contact is empty; "
                "set it to a mail address or web page, which is sent in the User-Agent header"
            )
        self._config, self._max_bytes, self._responsible = config, max_bytes, responsible
        self._retries = RetryPolicy(config.max_attempts, config.max_retry_after_seconds, BACKOFF_SECONDS)
        self._slots = asyncio.Semaphore(config.concurrency)
        self.hosts = Hosts(limits)
        self.policies = Policies(config, self.hosts, self._read_file)
        self._connections = Connections(
            {
                "User-Agent": user_agent("builds datasets of images for research", config.contact),
                "Accept-Encoding": "identity",
            },
            config.timeout_seconds,
            guarded=not config.allow_private_hosts,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._connections.close()

    async def fetch(self, request: FetchRequest) -> FetchedBody:
        """Return the body of a URL. Raises Rejected, with the metrics of the requests, or RedirectToOtherTask."""
        stats = replace(request.stats) if request.stats else RequestStats("", attempts=0)
        try:
            url = first = parse_url(request.url)
            stats.host = url.host
            if request.target:
                url = parse_url(request.target)
            answer = await self._retry(url, stats, request)
            if not stats.bytes_seen and not answer.not_modified:
                answer.body.close()
                raise Rejected("empty", f"{url}: HTTP {stats.status} without a body")
            if answer.headers["final_url"] == str(first):
                answer.headers["final_url"] = None
            return answer
        except Rejected as rejected:
            rejected.stats = stats
            raise
        except (DataError, RedirectToOtherTask):
            raise
        except Exception as error:  # a bug, which must not affect other rows
            text = f"{request.url}: unexpected {type(error).__name__}: {error}"
            raise Rejected("bad_response", text, stats) from error

    async def _retry(self, url: Url, stats: RequestStats, image: FetchRequest | None) -> FetchedBody:
        """Make attempts until one succeeds, or fails for good, or the retry policy gives up; `image` is None for policies."""
        while True:
            stats.attempts += 1
            try:
                return await self._follow(url, stats, image)
            except TemporaryRejection as rejected:
                wait = self._retries.wait(stats.attempts, rejected.wait)
                if wait is None:
                    raise
            await asyncio.sleep(wait)

    async def _follow(self, url: Url, stats: RequestStats, image: FetchRequest | None) -> FetchedBody:
        """Make one attempt, including redirects. Waiting for slots and for the resolver does not count towards the deadline."""
        until = stats.seconds + self._config.deadline_seconds
        for hop in range(image.hops if image else 0, MAX_REDIRECTS + 1):
            if image and not self._responsible(host_key(url)):
                raise RedirectToOtherTask(url, hop, stats)
            host = self.hosts.get(url)
            with host.in_use():  # from its rules to the end of the request, however long it waits in between
                if image and not await self.policies.may_be_fetched(url):
                    raise Rejected("robots_disallowed", f"{url}: forbidden by robots.txt")
                reserved = image is not None and not await self.policies.may_be_mined(url)
                result = await self._hop(host, url, stats, until - stats.seconds, image, reserved)
            if isinstance(result, FetchedBody):
                return result
            url = result
        raise Rejected("too_many_redirects", f"{url}: more than {MAX_REDIRECTS} redirects")

    async def _hop(
        self,
        host: Host,
        url: Url,
        stats: RequestStats,
        seconds: float,
        image: FetchRequest | None,
        reserved: bool,
    ) -> FetchedBody | Url:
        """Send one request; return the body, or the URL that the response redirects to."""
        accept = "image/*, */*;q=0.1" if image else "*/*"
        # Another URL may have the same ETag for other bytes, so it is sent to the URL that gave it only.
        known = image.known if image and image.known and image.known.url == str(url) else None
        host.check_budget()
        # This may wait long, for reasons that are not the host's.
        lookup = await self._connections.look_up(url)
        async with host.request(self._slots):
            stats.status, stats.bytes_seen = None, 0
            start = time.monotonic()
            try:
                async with (
                    asyncio.timeout(seconds),
                    self._connections.get(url, accept, known.etag if known else "", lookup) as response,
                ):
                    stats.status = response.status
                    if known and response.status == 304:
                        result: FetchedBody | Url = self._confirmed(response, url, stats, known, reserved)
                    else:
                        is_image = image is not None
                        result = await self._read_response(response, url, host, stats, is_image, reserved)
                    host.budget.return_time()
                    return result
            except Rejected as rejected:
                if not isinstance(rejected, TemporaryRejection):
                    host.budget.return_time()
                raise
            except DataError:  # a ValueError, but a fault of this machine
                raise
            except (OSError, EOFError, ValueError, zlib.error) as error:
                raise _rejection(url, error, stats) from error
            finally:
                stats.seconds = round(stats.seconds + time.monotonic() - start, 3)

    def _confirmed(
        self, response: Response, url: Url, stats: RequestStats, known: KnownVersion, reserved: bool
    ) -> FetchedBody:
        """Return the version that the host confirmed. Raises Rejected if it is reserved now."""
        self._check_reservations(response.headers, reserved)
        headers = kept_headers(url, response.headers)
        return FetchedBody(BytesIO(), stats, known.sha256, headers, known.etag, not_modified=True)

    async def _read_response(
        self, response: Response, url: Url, host: Host, stats: RequestStats, is_image: bool, reserved: bool
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
                return FetchedBody(await _read_policy(response, stats), stats, "", {})
            self._check_reservations(headers, reserved)
            body = await read_body(response, stats, self._max_bytes)
        except Rejected as rejected:
            rejected.detail = printable(f"{url}: {rejected.detail}")
            raise
        digest = hashlib.file_digest(body, "sha256").hexdigest()  # type: ignore[arg-type]  # spooled
        return FetchedBody(body, stats, digest, kept_headers(url, headers), strong_etag(headers))

    def _check_reservations(self, headers: Headers, reserved: bool) -> None:
        """Raise Rejected if the headers, or the file of the host unless a header overrides it, reserve the image."""
        if not self._config.opt_outs:
            return
        if word := forbidding_tag(headers.all("X-Robots-Tag")):
            raise Rejected("opted_out", f"X-Robots-Tag: {word}")
        header = headers.get("TDM-Reservation")
        if header == "1" or (reserved and header != "0"):
            raise Rejected("opted_out", "TDM-Reservation: 1" if header else f"reserved by {TDM_FILE}")

    async def _read_file(self, url: Url) -> bytes:
        with (await self._retry(url, RequestStats("", attempts=0), image=None)).body as body:
            return body.read()


async def _read_policy(response: Response, stats: RequestStats) -> IO[bytes]:
    codings = UNREADABLE.intersection(response.headers.words("Content-Encoding"))
    if codings:  # unreadable rules must not pass for rules that allow everything
        raise Rejected(
            "bad_response", f"content-encoding {', '.join(sorted(codings))}, which was not requested"
        )
    return await read_body(response, stats, MAX_POLICY_BYTES, cut=True)


def _rejection(url: Url, error: Exception, stats: RequestStats) -> Rejected:
    """Map an exception of a request to a rejection."""
    text = f"{url}: {str(error) or type(error).__name__}"
    match error:
        case PrivateAddress():
            return Rejected("private_address", text)
        case UnknownHost():
            return Rejected("unknown_host", text)
        case TimeoutError():
            return Rejected("timeout", f"{url}: too slow, {stats.bytes_seen} bytes so far")
        case ssl.SSLError():
            return Rejected("tls_failed", text)
        case OSError() | EOFError():
            return TemporaryRejection("incomplete" if stats.status else "connection_failed", text)
        case _:
            return Rejected("bad_response", text)
