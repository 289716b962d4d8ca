import asyncio
import ipaddress
import socket

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.fetch import public_addresses
from pipeline.fetch.connections import Connections
from pipeline.fetch.http1 import BadResponse
from pipeline.fetch.public_addresses import PrivateAddress, is_public
from pipeline.fetch.urls import parse_url
from pipeline.rejections import Rejected


def code_of(url: str, base: str | None = None) -> str:
    with pytest.raises(Rejected) as caught:
        parse_url(url, parse_url(base) if base else None)
    return caught.value.code


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://93.184.215.14/a", "gopher://93.184.215.14/", "data:image/png;base64,AAAA",
        "http://", "http:///a.jpg", "https:a.jpg", "//93.184.215.14/a.jpg", "a.jpg", "", " http://93.184.215.14/",
        "http://[::1", "http://93.184.215.14:99999999/", "http://93.184.215.14:port/", "http://a\x00b.test/",
        "http://93.184.215.14/\n", "javascript:alert(1)", "http://93.184.215.14:0/", "http://127.0.0.1\\@a.test/",
    ],
)  # fmt: skip
def test_only_http_urls_with_a_host_are_fetched(url: str) -> None:
    assert code_of(url) == "bad_location"


def test_a_location_is_relative_to_its_url() -> None:
    assert str(parse_url("b?c=d", parse_url("http://x.test/a/"))) == "http://x.test/a/b?c=d"
    assert code_of("file:///etc/passwd", "http://x.test/") == "bad_location"


def test_user_password_and_fragment_are_left_out() -> None:
    assert str(parse_url("http://user:word@x.test/a#b")) == "http://x.test/a"


PRIVATE = [
    "127.0.0.1", "127.1", "127.255.255.254", "0x7f000001", "0177.0.0.1", "0", "0.0.0.0",
    "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "198.18.0.1", "192.0.2.1",
    "169.254.169.254", "2852039166", "2130706433", "255.255.255.255", "224.0.0.1", "240.0.0.1",
    "[::1]", "[::]", "[fe80::1]", "[fc00::1]", "[fd00:ec2::254]", "[fec0::1]", "[ff02::1]", "[2001:db8::1]",
    "[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]",
    "[2002:7f00:1::]", "[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::7f00:1]", "[2001:0:7f00:1::]",
    "①②⑦.⓪.⓪.①", "localhost",
    # platform addresses in public space
    "168.63.129.16", "0xa83f8110", "[::ffff:168.63.129.16]", "[64:ff9b::a83f:8110]", "161.26.0.10", "166.9.0.1",
    "199.36.153.4", "199.36.153.11", "192.80.8.124",
    # special-purpose ranges that the interpreter does not know, or has not known for long
    "192.0.0.192", "192.0.0.8", "192.88.99.1", "[5f00::1]", "[3fff::1]", "[100:0:0:1::1]", "[2001:1::1]", "[2001:20::1]",
    "[4000::1]", "[200::1]", "[fe00::1]",
]  # fmt: skip


def connect(url: str) -> BaseException | None:
    """Ask a URL through the guarded connector; the error, if it was not connected."""

    async def ask() -> None:
        connections = Connections({}, 2, guarded=True)
        try:
            async with connections.get(parse_url(url), "*/*"):
                pass
        finally:
            await connections.close()

    try:
        asyncio.run(ask())
    except (OSError, Rejected, BadResponse) as error:
        return error
    return None


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that sockets were made for."""
    made: list[str] = []
    real = public_addresses.public_socket

    def note(info: tuple) -> socket.socket:
        result = real(info)
        made.append(info[4][0])
        result.close()
        raise OSError("far enough")

    monkeypatch.setattr(public_addresses, "public_socket", note)
    return made


@pytest.mark.parametrize("host", PRIVATE)
def test_no_socket_is_created_for_a_private_address(host: str, connected: list[str]) -> None:
    for url in (f"http://{host}/latest/meta-data/", f"https://user:word@{host}:8080/"):
        assert isinstance(connect(url), PrivateAddress | Rejected | OSError)
    assert connected == []


def test_a_socket_is_created_for_a_public_address(connected: list[str]) -> None:
    assert isinstance(connect("http://93.184.215.14/"), OSError)
    assert connected == ["93.184.215.14"]


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "8.8.8.8", "2606:2800:21f::1", "64:ff9b::808:808", "::ffff:8.8.8.8"]
)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


# IANA's registries of special-purpose addresses: entries that are not globally reachable
SPECIAL = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/29",
    "192.0.0.8/32", "192.0.0.170/32", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
    "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4", "255.255.255.255/32",
    "::1/128", "::/128", "::/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/32", "2001:2::/48",
    "2001:db8::/32", "2001:10::/28", "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10",
]  # fmt: skip


@pytest.mark.parametrize("network", SPECIAL)
def test_no_address_of_a_special_range_is_public(network: str) -> None:
    addresses = ipaddress.ip_network(network)
    first, last = int(addresses[0]), int(addresses[-1])
    for number in {first, last, (first + last) // 2, min(first + 1, last)}:
        address = type(addresses[0])(number)
        assert not is_public(str(address))
        if address.version == 4:
            assert not is_public(f"::ffff:{address}")
            assert not is_public(str(ipaddress.IPv6Address((0x64FF9B << 96) + number)))


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    asked: list[str] = []

    def answer(host: str, *_: object, **__: object) -> list[tuple]:
        asked.append(host)
        kinds = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses]
        return [
            (kind, socket.SOCK_STREAM, 6, "", (address, 80))
            for kind, address in zip(kinds, addresses, strict=True)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return asked


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["fe80::1%eth0"]])
def test_a_name_is_rejected_if_any_of_its_addresses_is_private(
    monkeypatch: pytest.MonkeyPatch, connected: list[str], addresses: list[str]
) -> None:
    resolve_to(monkeypatch, *addresses)
    assert isinstance(connect("http://images.test/a.jpg"), PrivateAddress)
    assert connected == []
    resolve_to(monkeypatch, "8.8.8.8")
    connect("http://images.test/a.jpg")
    assert connected == ["8.8.8.8"]


HOSTS = st.text(st.sampled_from("ab1.:@/\\?#[]%0\t\n éⅡ\x00-"), max_size=20)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(HOSTS)
@example("a@127.0.0.1")
@example("127.0.0.1\\@public.test")
@example("public.test#@127.0.0.1")
@example("[::ffff:7f00:1%25eth0]")
def test_any_url_leads_to_sockets_of_public_addresses_only(text: str) -> None:
    """Parsers disagree about odd URLs; what counts is the address at the end, whoever has parsed it."""
    with pytest.MonkeyPatch.context() as patch:
        made: list[str] = []

        def note(info: tuple) -> socket.socket:
            if not is_public(info[4][0]):
                raise PrivateAddress(info[4][0])
            made.append(info[4][0])
            raise OSError("far enough")

        patch.setattr(public_addresses, "public_socket", note)
        asked = resolve_to(patch, "10.0.0.1")
        assert connect("http://" + text) is not None
        assert made == [] or (asked == [] and all(map(is_public, made)))
