"""What may be fetched: files below the base folder, and http(s) URLs that lead to public addresses."""

import ipaddress
import socket

import httpx

from pipeline.rejections import Rejected

# IPv6 networks that carry IPv4 addresses and are on nobody's list of private ones, but lead a tunnel or a
# translator to them: compatible, translated, local NAT64, 6to4; and the old site-local addresses.
_REFUSED = [
    ipaddress.ip_network(network)
    for network in ("::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "2002::/16", "fec0::/10")
]
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # how a network without IPv4 reaches the public IPv4 hosts


def check_path(path: str) -> list[str]:
    """The parts of a path that stays below its base folder. Raises Rejected `bad_location` otherwise."""
    parts = path.split("/")
    if path.startswith("/") or "\\" in path or "\x00" in path or ":" in parts[0] or ".." in parts:
        raise Rejected("bad_location", f"{path}: give a path below the source folder, with / and without ..")
    return parts


def check_url(url: str, allow_private_hosts: bool) -> httpx.URL:
    """Refuse what is not http(s), and hosts that resolve to an address that is not public.

    Returns the URL as it was parsed here, to be fetched: were it parsed again, by another parser, it might lead
    elsewhere. Raises Rejected `bad_location`, or `fetch_failed` where the name does not resolve. A name may resolve
    otherwise a moment later: this check does not replace a firewall (docs/security.md).
    """
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise Rejected("bad_location", f"{url}: {error}") from error
    host = parsed.raw_host.decode("ascii")
    if parsed.scheme not in ("http", "https") or not host:
        raise Rejected("bad_location", f"{url}: only http and https URLs are fetched")
    port = (443 if parsed.scheme == "https" else 80) if parsed.port is None else parsed.port
    if not 0 < port < 1 << 16:
        raise Rejected("bad_location", f"{url}: there is no port {port}")
    if allow_private_hosts:
        return parsed
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Rejected("fetch_failed", f"{host}: {error}") from error
    for *_, address in found:
        if not is_public(str(address[0]).partition("%")[0]):
            raise Rejected("bad_location", f"{host} leads to {address[0]}, which is not a public address")
    return parsed


def is_public(address: str) -> bool:
    """Whether a numeric address is a public one; of an IPv6 address that carries an IPv4 one, whether that is."""
    number = ipaddress.ip_address(address)
    if isinstance(number, ipaddress.IPv6Address):
        if number.ipv4_mapped or number in _NAT64:
            number = ipaddress.IPv4Address(int(number) & 0xFFFFFFFF)
        elif any(number in network for network in _REFUSED):
            return False
    return number.is_global and not number.is_multicast
