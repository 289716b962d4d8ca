"""Open connections to checked addresses, with verified TLS for https, and reuse them for a few seconds."""

import asyncio
import socket
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cached_property

from aiohappyeyeballs import AddrInfoType, start_connection

from pipeline.fetch import public_addresses
from pipeline.fetch.http1 import PIECE_BYTES, Reader, Response, read_response
from pipeline.fetch.urls import Url

RESOLVER_THREADS = 32  # an unresponsive name server blocks one for up to half a minute
NAME_SECONDS = 300  # how long a resolved name is cached
MAX_NAMES = 4096  # in the cache
# Unused connections are closed soon, because a list may name more hosts than a process may have open files.
IDLE_SECONDS = 2.0
NEXT_ADDRESS_SECONDS = 0.25  # until the next address of a host is tried in parallel (RFC 8305)

Lookup = asyncio.Task[list[AddrInfoType]]
"""A lookup of a host name that runs or has run."""


class UnknownHost(OSError):
    """A host name that does not resolve."""


@dataclass
class _Connection:
    reader: Reader
    writer: asyncio.StreamWriter
    idle: asyncio.Task[None] | None = None
    """Watches the connection while it is unused; None until its first reuse."""

    def close(self) -> None:
        self.writer.transport.abort()  # without a TLS shutdown, which some servers never complete


class Connections:
    """Sends GET requests within one event loop.

    headers: headers of every request. seconds: limit for connecting, and for each wait for more bytes. guarded: connect
    to public addresses only. The caller limits the number of requests in progress.
    """

    def __init__(self, headers: Mapping[str, str], seconds: float, guarded: bool) -> None:
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._seconds, self._guarded = seconds, guarded
        self._idle: defaultdict[tuple[str, str, int], list[_Connection]] = defaultdict(list)
        self._names: dict[tuple[str, int], tuple[Lookup, float]] = {}
        self._lookups = asyncio.Semaphore(RESOLVER_THREADS)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        return context

    async def close(self) -> None:
        """Close unused connections."""
        for connections in list(self._idle.values()):
            for connection in connections:
                assert connection.idle is not None
                connection.idle.cancel()
                connection.close()
        await asyncio.sleep(0)  # let the event loop close the transports

    @asynccontextmanager
    async def get(
        self, url: Url, accept: str, etag: str = "", lookup: Lookup | None = None
    ) -> AsyncIterator[Response]:
        """Send a request for a URL and read the header lines of the response; the caller reads the body.

        etag: of a known version, which the host may confirm with HTTP 304. lookup: what `look_up` returned for this URL.

        Raises public_addresses.PrivateAddress, UnknownHost, ssl.SSLError, TimeoutError, other OSErrors, http1.BadResponse.
        """
        condition = f"If-None-Match: {etag}\r\n" if etag else ""
        request = (
            f"GET {url.target} HTTP/1.1\r\nHost: {url.authority}\r\nAccept: {accept}\r\n{condition}{self._headers}\r\n"
        ).encode("ascii")
        connection = await self._take(url) or await self._connect(url, lookup)
        response: Response | None = None
        try:
            try:
                response = await self._send(connection, request)
            except ConnectionError:
                if not connection.idle or connection.reader.received:
                    raise
                # The server closed the idle connection (RFC 9112, section 9.3.1), so it has not processed the request.
                connection.close()
                connection = await self._connect(url, lookup)
                response = await self._send(connection, request)
            yield response
        finally:
            if response and response.reusable():
                self._keep(url, connection)
            else:
                connection.close()

    async def look_up(self, url: Url) -> Lookup:
        """Return the lookup of the host of a URL as soon as it is running; a recent one is used again.

        At most RESOLVER_THREADS lookups run at a time. With unresponsive name servers, the wait for one of them may be long,
        whatever the host, so it should not count towards limits of the request.
        """
        lookup = self._recent_lookup(url)
        if lookup is None:
            await self._lookups.acquire()
            lookup = self._recent_lookup(url)  # another request may have started it meanwhile
            if lookup:
                self._lookups.release()
            else:
                lookup = self._start_lookup(url)
        return lookup

    def _recent_lookup(self, url: Url) -> Lookup | None:
        """Return a lookup of the host of a URL that runs, or that succeeded in the last NAME_SECONDS."""
        lookup, until = self._names.get((url.host, url.port), (None, 0.0))
        if lookup is None or asyncio.get_running_loop().time() > until:
            return None
        return None if lookup.done() and (lookup.cancelled() or lookup.exception()) else lookup

    def _start_lookup(self, url: Url) -> Lookup:
        """Start a lookup, which gives its place among the RESOLVER_THREADS back when it ends, even if nobody waits for it."""

        def end(lookup: Lookup) -> None:
            self._lookups.release()
            if not lookup.cancelled():
                lookup.exception()  # mark it as retrieved

        key = url.host, url.port
        lookup = asyncio.create_task(self._resolve(*key))
        lookup.add_done_callback(end)
        self._names.pop(key, None)
        self._names[key] = lookup, asyncio.get_running_loop().time() + NAME_SECONDS
        if len(self._names) > MAX_NAMES:
            del self._names[next(iter(self._names))]
        return lookup

    async def _send(self, connection: _Connection, request: bytes) -> Response:
        connection.reader.received = 0
        connection.writer.write(request)
        return await read_response(connection.reader)

    async def _take(self, url: Url) -> _Connection | None:
        while idle := self._idle.get(_key(url)):
            connection = idle.pop()
            assert connection.idle is not None
            connection.idle.cancel()
            await asyncio.wait([connection.idle])
            if connection.idle.cancelled():
                return connection
        return None

    def _keep(self, url: Url, connection: _Connection) -> None:
        connection.idle = asyncio.create_task(self._watch(url, connection))
        self._idle[_key(url)].append(connection)

    async def _watch(self, url: Url, connection: _Connection) -> None:
        """Close an unused connection after IDLE_SECONDS, or when the server closes it or sends unexpected bytes."""
        with suppress(OSError):
            await connection.reader.wait(IDLE_SECONDS)
        connection.close()
        idle = self._idle[_key(url)]
        if connection in idle:
            idle.remove(connection)
        if not idle:
            del self._idle[_key(url)]

    async def _connect(self, url: Url, lookup: Lookup | None) -> _Connection:
        if lookup is None or (lookup.done() and lookup is not self._recent_lookup(url)):
            # The given one has failed or expired while the request waited for its host.
            lookup = await self.look_up(url)
        async with asyncio.timeout(self._seconds):
            addresses = await asyncio.shield(lookup)
            opened = await start_connection(
                addresses,
                happy_eyeballs_delay=NEXT_ADDRESS_SECONDS,
                interleave=1,
                socket_factory=public_addresses.public_socket if self._guarded else None,
            )
            secure = url.scheme == "https"
            streams = await asyncio.open_connection(
                sock=opened,
                ssl=self._tls if secure else None,
                server_hostname=url.host.rstrip(".") if secure else None,
                limit=PIECE_BYTES,
            )
        return _Connection(Reader(streams[0], self._seconds), streams[1])

    async def _resolve(self, host: str, port: int) -> list[AddrInfoType]:
        """Resolve a name in a thread. Raises PrivateAddress if any of its addresses is not public."""
        loop = asyncio.get_running_loop()
        try:
            addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise UnknownHost(f"{host}: {error}") from error
        if self._guarded:
            for address in addresses:
                public_addresses.check_public(str(address[4][0]))
        return list(addresses)


def _key(url: Url) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port
