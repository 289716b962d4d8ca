"""What may be fetched: files below the base folder, and http(s) URLs that lead to public addresses."""

import ipaddress
import socket
from urllib.parse import urlsplit

from pipeline.rejections import Rejected


def check_path(path: str) -> list[str]:
    """The parts of a path that stays below its base folder. Raises Rejected `bad_location` otherwise."""
    parts = path.split("/")
    if path.startswith("/") or "\\" in path or "\x00" in path or ":" in parts[0] or ".." in parts:
        raise Rejected("bad_location", f"{path}: give a path below the source folder, with / and without ..")
    return parts


def check_url(url: str, allow_private_hosts: bool) -> None:
    """Refuse what is not http(s), and hosts that resolve to an address that is not public.

    Raises Rejected `bad_location`, or `fetch_failed` where the name does not resolve. A name may resolve
    otherwise a moment later: this check does not replace a firewall (docs/security.md).
    """
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise Rejected("bad_location", f"{url}: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Rejected("bad_location", f"{url}: only http and https URLs are fetched")
    if allow_private_hosts:
        return
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Rejected("fetch_failed", f"{parts.hostname}: {error}") from error
    for *_, address in found:
        number = ipaddress.ip_address(str(address[0]).partition("%")[0])
        mapped = getattr(number, "ipv4_mapped", None)
        if not (mapped or number).is_global or number.is_multicast:
            raise Rejected(
                "bad_location", f"{parts.hostname} leads to {number}, which is not a public address"
            )
