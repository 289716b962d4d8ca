import socket

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.ingest.guard import check_path, check_url, is_public
from pipeline.rejections import Rejected


def code_of(url: str, allow_private_hosts: bool = False) -> str:
    with pytest.raises(Rejected) as caught:
        check_url(url, allow_private_hosts)
    return caught.value.code


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://93.184.215.14/a", "gopher://93.184.215.14/", "data:image/png;base64,AAAA",
        "http://", "http:///a.jpg", "https:a.jpg", "//93.184.215.14/a.jpg", "a.jpg", "", " http://93.184.215.14/",
        "http://[::1", "http://93.184.215.14:99999999/", "http://93.184.215.14:port/", "http://a\x00b.test/",
        "http://93.184.215.14/\n", "javascript:alert(1)",
    ],
)  # fmt: skip
@pytest.mark.parametrize("allow_private_hosts", [False, True])
def test_only_http_urls_with_a_host_are_fetched(url: str, allow_private_hosts: bool) -> None:
    assert code_of(url, allow_private_hosts) == "bad_location"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "127.255.255.254", "2130706433", "0x7f000001", "0177.0.0.1", "0", "0.0.0.0",
        "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "198.18.0.1", "192.0.2.1",
        "169.254.169.254", "2852039166", "255.255.255.255", "224.0.0.1", "240.0.0.1",
        "[::1]", "[::]", "[fe80::1]", "[fc00::1]", "[fd00:ec2::254]", "[fec0::1]", "[ff02::1]", "[2001:db8::1]",
        "[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]",
        "[2002:7f00:1::]", "[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::7f00:1]", "[2001:0:7f00:1::]",
        "①②⑦.⓪.⓪.①",
    ],
)  # fmt: skip
def test_hosts_that_are_not_public_are_refused_in_every_spelling(host: str) -> None:
    assert code_of(f"http://{host}/latest/meta-data/") in ("bad_location", "fetch_failed")
    assert code_of(f"http://user:word@{host}:8080/") in ("bad_location", "fetch_failed")


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "8.8.8.8", "2606:2800:21f::1", "64:ff9b::808:808", "::ffff:8.8.8.8"]
)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)
    host = f"[{address}]" if ":" in address else address
    assert check_url(f"https://{host}/a.jpg", False).path == "/a.jpg"


def test_private_hosts_can_be_allowed() -> None:
    assert check_url("http://127.0.0.1:8000/a", True).port == 8000


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    def answer(*_: object, **__: object) -> list[tuple]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["fe80::1%eth0"]])
def test_a_name_is_refused_if_any_of_its_addresses_is_private(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    resolve_to(monkeypatch, *addresses)
    assert code_of("http://images.test/a.jpg") == "bad_location"
    resolve_to(monkeypatch, "8.8.8.8")
    check_url("http://images.test/a.jpg", False)


def test_a_name_that_does_not_resolve_is_a_failed_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> list:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert code_of("http://images.test/a.jpg") == "fetch_failed"


@settings(
    derandomize=True,
    deadline=None,
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.text(st.sampled_from("ab1.:@/\\?#[]%0\t\n éⅡ\x00-"), max_size=20))
@example("a@127.0.0.1")
@example("127.0.0.1\\@public.test")
@example("public.test#@127.0.0.1")
def test_the_host_that_is_checked_is_the_host_that_is_asked(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """Parsers disagree about odd URLs; what the guard looks up must be what the client connects to."""
    looked_up = []

    def answer(host: str, *_: object, **__: object) -> list[tuple]:
        looked_up.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    try:
        url = check_url("http://" + text, False)
    except Rejected:
        return
    assert looked_up == [httpx.Request("GET", url).url.raw_host.decode()]


@pytest.mark.parametrize(
    "path",
    [
        "../secret", "a/../../secret", "a/..", "..", "/etc/passwd", "//etc/passwd", "a\\b", "..\\secret",
        "C:/windows", "c:secret", "file:///etc/passwd", "gs://bucket/a", "a\x00.jpg",
    ],
)  # fmt: skip
def test_paths_that_lead_out_of_the_base_folder_are_refused(path: str) -> None:
    with pytest.raises(Rejected) as caught:
        check_path(path)
    assert caught.value.code == "bad_location"
    assert "below the source folder" in caught.value.detail


@pytest.mark.parametrize("path", ["a.jpg", "sub/a b.jpg", "sub/.hidden/é.jpg", "a..b/c...jpg", "x/12:30.jpg"])
def test_paths_below_the_base_folder_are_taken_apart(path: str) -> None:
    assert check_path(path) == path.split("/")
