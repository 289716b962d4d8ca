"""Whatever a list or a server contains, each URL gives a body or a code, and the run continues."""

# ruff: noqa: F811  fixtures of other folders are imported by name

import random
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.fetch.retries import retry_after
from pipeline.fetch.robots import PathRules, forbidding_tag, reservations
from pipeline.rejections import Rejected
from schemas.rejection import CODES
from tests.pipeline.fetch import conftest as fetching
from tests.pipeline.fetch.conftest import Get, Web, get, names, web  # noqa: F401  fixtures
from tests.pipeline.fetch.hostile_urls import HOSTILE_URLS, hostile_urls
from tests.pipeline.fetch.odd_replies import REPLIES

PATIENCE = {"timeout_seconds": 2, "deadline_seconds": 4, "max_attempts": 1, "max_bytes": 100_000}


def settled(results: list[fetching.Fetched | Rejected], count: int) -> list[str]:
    """Check that there is a result for each URL; return the codes."""
    assert len(results) == count
    codes = [result.code for result in results if isinstance(result, Rejected)]
    assert set(codes) <= set(CODES)
    for result in results:
        if isinstance(result, Rejected):
            assert result.detail.isprintable()
            assert ": unexpected " not in result.detail  # a bug that is caught last
    return codes


@pytest.fixture
def no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name resolves; addresses do."""
    real = socket.getaddrinfo

    def resolve(host: str, port: int, *_: object, **__: object) -> list:
        return real(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.mark.usefixtures("no_names")
@pytest.mark.parametrize("private", [False, True])
def test_hostile_urls_of_a_list_affect_only_their_rows(get: Get, web: Web, private: bool) -> None:
    urls = [*hostile_urls(), web.serve("/good", b"picture")]
    results = get.all(urls, allow_private_hosts=private, **PATIENCE)
    settled(results, len(urls))
    if private:
        assert fetching.body(results[-1]) == b"picture"


@pytest.mark.usefixtures("no_names")
def test_hostile_locations_affect_only_their_rows(get: Get, web: Web) -> None:
    draw = random.Random(1)
    locations = [url.encode(errors="surrogatepass")[:5000] for url in HOSTILE_URLS]
    locations += [bytes(draw.choices(range(256), k=draw.randrange(30))) for _ in range(200)]
    locations = [location.translate(None, b"\r\n") for location in locations]
    locations += [b"//" + location for location in locations[-100:]]
    urls = [
        fetching.raw(
            web, f"/{i}", b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n"
        )
        for i, location in enumerate(locations)
    ]
    codes = settled(get.all([*urls, web.serve("/good", b"x")], **PATIENCE), len(urls) + 1)
    assert len(codes) <= len(urls)


def test_damaged_responses_affect_only_their_rows(get: Get, web: Web) -> None:
    draw = random.Random(2)
    words = [
        b"\r\n",
        b"\n",
        b"\0",
        b":",
        b" ",
        b"\xff",
        b"chunked",
        b"0",
        b"-1",
        b"9" * 30,
        b"\x1f\x8b",
        b"HTTP/1.1 ",
    ]
    urls = []
    for i in range(500):
        data = bytearray(draw.choice(list(REPLIES.values()))[0][:3000])
        for _ in range(draw.randrange(1, 6)):
            start = draw.randrange(len(data) + 1)
            data[start : start + draw.randrange(4)] = draw.choice(words) * draw.randrange(3)
        urls.append(fetching.raw(web, f"/{i}", bytes(data)))
    codes = settled(get.all(urls, **PATIENCE), len(urls))
    assert 0 < len(codes) < len(urls)


@pytest.mark.parametrize(
    "name", ["Link", "X-Robots-Tag", "TDM-Reservation", "TDM-Policy", "Retry-After", "Content-Range"]
)
def test_headers_may_contain_anything(get: Get, web: Web, name: str) -> None:
    draw = random.Random(name)
    values = [
        b"",
        b"<" * 9000,
        b"<>;rel=license",
        b"<http://[>;rel=license",
        b'<\xff>; rel="license',
        b"," * 9000,
        b"9" * 400,
    ]
    values += [
        bytes(draw.choices(b'<>;="rel license,:1\xff\t\\h/[]%-', k=draw.randrange(40))) for _ in range(40)
    ]
    urls = []
    for i, value in enumerate(values):
        status = {"Retry-After": b"429 Slow", "Content-Range": b"206 Part"}.get(name, b"200 OK")
        head = (
            b"HTTP/1.1 "
            + status
            + b"\r\n"
            + name.encode()
            + b": "
            + value
            + b"\r\nContent-Length: 1\r\n\r\nx"
        )
        urls.append(fetching.raw(web, f"/{i}", head))
    settled(get.all(urls, max_retry_after_seconds=0.01, **PATIENCE), len(urls))


TEXTS = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.sampled_from(
            [b"User-agent: *", b"Disallow: /", b"Allow: *$", b"Crawl-delay: 1e999", b"Crawl-delay: nan", b"\xff", b"%",
             b"Request-rate: 1/0", b"Request-rate: 1/1s 9999-0000", b"Visit-time: x-y", b"Sitemap:", b":", b"*", b"\r", b"\n",
             b"Disallow: http://[", b"Disallow: " + b"*" * 50 + b"$", "Disallow: /é\u2028".encode()]
        ),
        max_size=12,
    ).map(b"\n".join),
)  # fmt: skip


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    TEXTS,
    st.sampled_from(["http://x.test/", "http://x.test/a/b?c=%zz", "http://[::1]/%", "http://x.test//[?#"]),
)
def test_policy_files_may_contain_anything(text: bytes, url: str) -> None:
    for rules in (PathRules(text), reservations(text), reservations(b'[{"location": "' + text + b'"}]')):
        assert rules.allow(url) in (True, False)
        assert 0 <= rules.delay < float("inf")


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    st.one_of(
        st.text(max_size=40), st.from_regex(r"\w{3}, \d{1,2} \w{3} \d{1,6} \d\d:\d\d:\d\d( [-+]?\w{1,9})?")
    )
)
def test_retry_after_and_x_robots_tag_may_contain_anything(text: str) -> None:
    wait = retry_after(text)
    assert wait is None or wait >= 0
    forbidding_tag([text, text])
