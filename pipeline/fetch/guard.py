"""Allow http(s) URLs that lead to public addresses, and no others.

Addresses are looked at where they are used: when a name is resolved, and again when the socket is made. So whatever
a name, a redirect or a second answer of the name server says, no connection goes to an address that was not checked.
"""

import asyncio
import ipaddress
import re
import socket

from aiohttp import AddrInfoType, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from pipeline.rejections import Rejected

# IPv6 networks that carry IPv4 addresses and are on nobody's list of private ones, but lead a tunnel or a
# translator to them: compatible, translated, local NAT64, 6to4; and the old site-local addresses.
_REFUSED = [
    ipaddress.ip_network(network)
    for network in ("::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "2002::/16", "fec0::/10")
]
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # how a network without IPv4 reaches the public IPv4 hosts
_CONTROL = re.compile(r"[\x00-\x1f\x7f]|^\s|\s$")
_NAME_SECONDS = 300  # a name is asked for again after so long
# An unused connection is closed: a list leads to more hosts than a process may have open files.
_IDLE_SECONDS = 2


class PrivateAddress(OSError):
    """A host leads to an address that is not public."""


def check_url(url: str, base: URL | None = None) -> URL:
    """Parse a URL, which may be relative to `base`, and refuse what is not http(s) with a host.

    User names and passwords are left out: nobody's are ours to send. Raises Rejected `bad_location`.
    """
    try:
        if _CONTROL.search(url):
            raise ValueError("control characters, or blanks around it")
        parsed = base.join(URL(url)) if base else URL(url)
        if parsed.scheme not in ("http", "https") or not parsed.raw_host or not parsed.port:
            raise ValueError("only http and https URLs are fetched")
        return parsed.with_user(None).with_fragment(None)
    except (ValueError, TypeError) as error:
        raise Rejected("bad_location", f"{url}: {error}") from error


def is_public(address: str) -> bool:
    """Whether a numeric address is a public one; of an IPv6 address that carries an IPv4 one, whether that is."""
    number = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(number, ipaddress.IPv6Address):
        if number.ipv4_mapped or number in _NAT64:
            number = ipaddress.IPv4Address(int(number) & 0xFFFFFFFF)
        elif any(number in network for network in _REFUSED):
            return False
    return number.is_global and not number.is_multicast


def guarded_connector() -> TCPConnector:
    """Connections to public addresses only, with verified TLS."""
    return _connector(_PublicResolver(), _public_socket)


def open_connector() -> TCPConnector:
    """Connections to any address, for tests and demos."""
    return _connector(_Resolver(), None)


def _connector(resolver: AbstractResolver, socket_factory: object) -> TCPConnector:
    # How many connections there are, and to which host, is limited by who asks (web.py, hosts.py).
    return TCPConnector(
        limit=0,
        resolver=resolver,
        ttl_dns_cache=_NAME_SECONDS,
        keepalive_timeout=_IDLE_SECONDS,
        socket_factory=socket_factory,  # type: ignore[arg-type]  # a callable or None
    )


class _Resolver(AbstractResolver):
    """Asks the system's resolver in a thread, as aiohttp's own does; UnicodeError is its way to say no, too."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        except UnicodeError as error:
            raise OSError(f"no name of a host: {error}") from error
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=proto,
                flags=socket.AI_NUMERICHOST,
            )
            for kind, _, proto, _, address in found
        ]

    async def close(self) -> None:
        pass


class _PublicResolver(_Resolver):
    """Gives no address of a name that has one that is not public."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        for result in found:
            _refuse_private(result["host"])
        return found


def _public_socket(info: AddrInfoType) -> socket.socket:
    """The socket for an address, if it is public; hosts that are given as addresses are never resolved."""
    kind, of, protocol, _, address = info
    _refuse_private(str(address[0]))
    return socket.socket(kind, of, protocol)


def _refuse_private(address: str) -> None:
    if not is_public(address):
        raise PrivateAddress(f"{address} is not a public address")
