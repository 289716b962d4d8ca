"""Parse http and https URLs without changing their bytes: a URL with other bytes is another URL.

Source: RFC 3986, https://www.rfc-editor.org/rfc/rfc3986: syntax (appendix B), relative references (section 5.2),
allowed characters (section 2). A server that signs or compares its URLs answers 403 or 404 if `%2F` in a
query comes back as `/`.
"""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

import yarl

from pipeline.rejections import Rejected

_PORTS = {"http": 80, "https": 443}
_PARTS = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?://([^/?#]*))?([^?#]*)(\?[^#]*)?(?:#.*)?", re.DOTALL)
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::([0-9]{0,5}))?")
_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.){0,126}[a-z0-9_-]{1,63}\.?")  # with _, which some hosts use
_CONTROL = re.compile(r"[\x00-\x1f\x7f]|^\s|\s$")
# Reserved and unreserved characters and % are kept; all other bytes are percent-encoded.
_KEPT = "!#$%&'()*+,/:;=?@[]~"
_LONGEST_NAME = 253
_SHOWN = 100  # characters of an invalid URL in a message
MAX_URL_LENGTH = 8192
"""Characters of a URL, as written and as sent. Web servers refuse longer ones, and work per URL needs a bound."""


@dataclass(frozen=True)
class Url:
    """An http(s) URL without user name, password and fragment.

    scheme: "http" or "https". host: name in ASCII and lower case, or an address, IPv6 without brackets. target: path
    and query as sent in the request.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """Host, and port unless it is the default of the scheme."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"

    def with_target(self, target: str) -> "Url":
        """Return another URL of the same scheme, host and port."""
        return Url(self.scheme, self.host, self.port, target)


def parse_url(text: str, base: Url | None = None) -> Url:
    """Parse a URL, or a reference relative to `base`.

    Characters that a URL may not contain are percent-encoded as UTF-8. Surrogates of the error handler `surrogateescape`
    stand for single bytes, which are percent-encoded. Segments `.` and `..` are resolved. Raises Rejected
    `bad_location` for anything but http and https URLs with a host and at most MAX_URL_LENGTH characters.
    """
    try:
        _check_length(text)
        url = _parse(text, base)
        _check_length(str(url))
    except ValueError as error:
        raise Rejected("bad_location", f"{text[:_SHOWN]}: {error}") from error
    return url


def parse_location(value: str, base: Url) -> Url:
    """Parse a Location header, given as Latin-1, in which each character is a byte. Raises Rejected `bad_location`."""
    return parse_url(value.strip(" \t").encode("latin-1").decode("utf-8", "surrogateescape"), base)


def host_key(url: Url) -> str:
    """Return the key of limits per host: the host name, for any scheme and port."""
    return url.host.rstrip(".")


def is_web_url(text: str) -> bool:
    """Whether a text is an http or https URL with a host."""
    try:
        parse_url(text)
    except Rejected:
        return False
    return True


def _check_length(text: str) -> None:
    if len(text) > MAX_URL_LENGTH:
        raise ValueError(f"a URL of {len(text):,} characters; give one of at most {MAX_URL_LENGTH:,}")


def _parse(text: str, base: Url | None) -> Url:
    if _CONTROL.search(text):
        raise ValueError("control characters, or blanks at an end")
    parts = _PARTS.fullmatch(text)
    assert parts is not None  # the pattern matches any text
    scheme, authority, path, query = parts.groups()
    scheme = scheme.lower() if scheme else base.scheme if base else None
    if scheme not in _PORTS or (parts[1] and authority is None):
        raise ValueError("only http and https URLs with a host are fetched")
    path, query = _quoted(path), _quoted(query or "")
    if authority is not None:
        host, port = _host_and_port(authority)
        return Url(scheme, host, port or _PORTS[scheme], (_without_dots(path) or "/") + query)
    if base is None:
        raise ValueError("only http and https URLs with a host are fetched")
    base_path, mark, base_query = base.target.partition("?")
    if not path:
        return base.with_target(base_path + (query or mark + base_query))
    if not path.startswith("/"):
        path = base_path[: base_path.rindex("/") + 1] + path
    return base.with_target(_without_dots(path) + query)


def _quoted(text: str) -> str:
    return quote(text.encode("utf-8", "surrogateescape"), safe=_KEPT)


def _without_dots(path: str) -> str:
    """Resolve `.` and `..` (RFC 3986, section 5.2.4), so that rules of robots.txt apply to the real path."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _host_and_port(authority: str) -> tuple[str, int | None]:
    parts = _AUTHORITY.fullmatch(authority.rpartition("@")[2])
    if parts is None or "\\" in authority:  # some clients read \ as /
        raise ValueError("invalid host or port")
    host, digits = parts.groups()
    port = int(digits) if digits else None
    if port is not None and not 0 < port < 1 << 16:
        raise ValueError("the port is not 1 to 65535")
    if host.startswith("["):
        return str(ipaddress.IPv6Address(host[1:-1])), port
    name = unquote_to_bytes(host.encode("utf-8", "surrogateescape"))
    return _ascii_name(_decoded(name)), port


def _decoded(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("latin-1")


def _ascii_name(name: str) -> str:
    """Return a host name as it is resolved; an international one in its ASCII form (UTS 46, by yarl)."""
    if len(name) > _LONGEST_NAME:  # checked first, since the conversion takes quadratic time
        raise ValueError("the host name is too long")
    if not name.isascii():
        name = yarl.URL.build(scheme="http", host=name).raw_host or ""
    name = name.lower()
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise ValueError("invalid host name")
    return name
