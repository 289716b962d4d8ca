"""URLs of lists and of Location headers are parsed, and addresses are judged (pipeline/fetch/urls.py, public_addresses.py).

A text gives a URL or a `Rejected` bad_location. A URL is http or https, ASCII without blanks, has a host, a port from 1 to
65535 and a path without `.` and `..`; parsed again, it is the same URL. No address is public that Python's
table calls private, loopback, link-local, multicast, reserved or unspecified; an IPv4 address is judged the same in IPv6.
"""

import ipaddress
from collections.abc import Iterator

from pipeline.fetch.public_addresses import PrivateAddress, check_public, is_public
from pipeline.fetch.urls import Url, host_key, is_web_url, parse_location, parse_url
from pipeline.rejections import Rejected
from tests.fuzz.inputs import check_rejection
from tests.pipeline.fetch.hostile_urls import HOSTILE_URLS

BASE = parse_url("https://example.org:8443/a/b/c.jpg?x=1")
FORBIDDEN = ("is_private", "is_loopback", "is_link_local", "is_multicast", "is_reserved", "is_unspecified")
WORDS = (
    b"http://", b"https://", b"//", b"[::1]", b"[::ffff:10.0.0.1]", b"xn--", b"%2F", b"%2e", b"/../", b"/./", b"\\", b"@",
    b":443", b":0", b"\xc3\xa9", b"\xe3\x80\x82", b"\xef\xbc\x8f", b"169.254.169.254", b"%25", b"#", b"?", b"\xc2\xad",
)  # fmt: skip
MAX_SEED = 400


def seeds() -> Iterator[bytes]:
    """Yield the odd URLs of the tests, and addresses of each kind."""
    yield from (url.encode("utf-8", "surrogatepass") for url in HOSTILE_URLS if len(url) < MAX_SEED)
    yield from (
        b"http://example.org/a/./../b?c=%2F#d",
        b"../x.jpg",
        b"?y=2",
        b"https://user:pass@EXAMPLE.org:443/\xe9",
    )
    for text in (
        "8.8.8.8",
        "10.0.0.1",
        "169.254.169.254",
        "168.63.129.16",
        "2606:4700::1",
        "::1",
        "64:ff9b::a00:1",
    ):
        yield ipaddress.ip_address(text).packed


def check(data: bytes) -> None:
    """Parse the input as a URL of a list, as a reference and as a Location header; judge it as an address."""
    text = data.decode("utf-8", "surrogateescape")
    url = parsed(text, None)
    assert is_web_url(text) == (url is not None)
    parsed(text, BASE)
    parsed(data.decode("utf-8", "replace"), None)
    try:
        check_url(parse_location(data.decode("latin-1"), BASE))
    except Rejected as rejected:
        check_rejection(rejected)
    if len(data) in (4, 16):
        check_address(data)


def parsed(text: str, base: Url | None) -> Url | None:
    try:
        url = parse_url(text, base)
    except Rejected as rejected:
        check_rejection(rejected, {"bad_location"})
        return None
    check_url(url)
    return url


def check_url(url: Url) -> None:
    text = str(url)
    assert url.scheme in ("http", "https")
    assert text.isascii()
    assert text.isprintable()
    assert " " not in text
    assert url.host
    assert url.host == url.host.lower()
    assert host_key(url)
    assert 0 < url.port < 1 << 16
    assert url.target.startswith("/")
    assert not {".", ".."} & set(url.target.partition("?")[0].split("/"))
    assert parse_url(text) == url


def check_address(packed: bytes) -> None:
    address = ipaddress.ip_address(packed)
    text = str(address)
    public = is_public(text)
    try:
        check_public(text)
    except PrivateAddress:
        assert not public
    else:
        assert public
    if public and not (
        isinstance(address, ipaddress.IPv6Address) and address in ipaddress.ip_network("64:ff9b::/96")
    ):
        inner = getattr(address, "ipv4_mapped", None) or address
        assert not any(getattr(inner, name) for name in FORBIDDEN), text
    if isinstance(address, ipaddress.IPv4Address):
        assert is_public(f"::ffff:{text}") == public
        assert is_public(f"64:ff9b::{text}") == public
    assert is_public(f"{text}%eth0" if ":" in text else text) == public
