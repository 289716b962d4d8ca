"""URLs are sent as written; invalid text is rejected, whatever it contains."""

import contextlib
from collections.abc import Callable
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.fetch import urls
from pipeline.fetch.fetch_all import url_host_key
from pipeline.fetch.host_groups import groups_of
from pipeline.fetch.urls import MAX_URL_LENGTH, Url, host_key, is_web_url, parse_location, parse_url
from pipeline.rejections import Rejected
from tests.pipeline.fetch.conftest import Get, Request, Web, body
from tests.pipeline.fetch.hostile_urls import HOSTILE_URLS


@pytest.mark.parametrize(
    "target",
    [
        "/image?url=https%3A%2F%2Fexample.org%2Fa.jpg&w=640", "/a%2Fb%3Ac%2Cd%40e%7Ef%20g%2e%2E.jpg",
        "/f.jpg?X-Amz-Credential=AK%2F20260101%2Fr&X-Amz-Signature=00", "/q?who=me%40example.org&a=b+c%2Bd&&=;",
        "/a;v=1.2/b=c,d/e!f$g&h'i(j)k*l+m", "/%zz%/100%?50%", "/double//slash//", "/?", "/??a?b", "/~user/-._",
        "/a:b@c?d:e@f/g?h", "/caf%E9%c3%A9.png", "/[x]?y[]=1",
    ],
)  # fmt: skip
def test_a_url_is_sent_as_written(get: Get, web: Web, target: str) -> None:
    body(get(web.serve(target, b"x")))
    assert web.asked == [target]
    web.asked.clear()
    body(get(web.redirect("/start", target), again=True))
    assert web.asked == ["/start", target]


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("/café.png", "/caf%C3%A9.png"), ("/a b.png?c d", "/a%20b.png?c%20d"), ("/a\"<>\\^`{|}", "/a%22%3C%3E%5C%5E%60%7B%7C%7D"),
        ("", "/"), ("?x=1", "/?x=1"), ("/a/./b/../c", "/a/c"), ("/../../a", "/a"), ("/a/..", "/"), ("/a#b?c", "/a"),
        ("/a?b/../c", "/a?b/../c"), ("/日本?語", "/%E6%97%A5%E6%9C%AC?%E8%AA%9E"), ("/...", "/..."), ("/.a/..b", "/.a/..b"),
    ],
)  # fmt: skip
def test_invalid_characters_are_percent_encoded(written: str, asked: str) -> None:
    assert parse_url("http://x.test" + written).target == asked


@pytest.mark.parametrize(
    ("location", "asked"),
    [
        ("/café.png".encode("latin-1"), "/caf%E9.png"), ("/café.png".encode(), "/caf%C3%A9.png"),
        ("/é/é".encode("latin-1") + "é".encode(), "/%E9/%E9%C3%A9"), (b"/\xff\xfe\x80", "/%FF%FE%80"),
        (b"  /a b\t", "/a%20b"), (b"?q=%2F\xe9", "/start/here?q=%2F%E9"), (b"b.png", "/start/b.png"),
    ],
)  # fmt: skip
def test_raw_bytes_of_a_location_are_percent_encoded(get: Get, web: Web, location: bytes, asked: str) -> None:
    def answer(request: Request) -> None:
        request.wfile.write(b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n")

    web.serve(asked, b"picture")
    assert body(get(web.raw("/start/here", answer))) == b"picture"
    assert web.asked == ["/start/here", asked]


# RFC 3986, sections 5.4.1 and 5.4.2; references to other schemes are refused, and fragments left out
BASE = "http://a/b/c/d;p?q"
REFERENCES = {
    "g": "http://a/b/c/g", "./g": "http://a/b/c/g", "g/": "http://a/b/c/g/", "/g": "http://a/g", "//g": "http://g/",
    "?y": "http://a/b/c/d;p?y", "g?y": "http://a/b/c/g?y", "#s": "http://a/b/c/d;p?q", "g#s": "http://a/b/c/g",
    "g?y#s": "http://a/b/c/g?y", ";x": "http://a/b/c/;x", "g;x": "http://a/b/c/g;x", "g;x?y#s": "http://a/b/c/g;x?y",
    "": "http://a/b/c/d;p?q", ".": "http://a/b/c/", "./": "http://a/b/c/", "..": "http://a/b/", "../": "http://a/b/",
    "../g": "http://a/b/g", "../..": "http://a/", "../../": "http://a/", "../../g": "http://a/g",
    "../../../g": "http://a/g", "../../../../g": "http://a/g", "/./g": "http://a/g", "/../g": "http://a/g",
    "g.": "http://a/b/c/g.", ".g": "http://a/b/c/.g", "g..": "http://a/b/c/g..", "..g": "http://a/b/c/..g",
    "./../g": "http://a/b/g", "./g/.": "http://a/b/c/g/", "g/./h": "http://a/b/c/g/h", "g/../h": "http://a/b/c/h",
    "g;x=1/./y": "http://a/b/c/g;x=1/y", "g;x=1/../y": "http://a/b/c/y", "g?y/./x": "http://a/b/c/g?y/./x",
    "g?y/../x": "http://a/b/c/g?y/../x", "g#s/./x": "http://a/b/c/g",
}  # fmt: skip


@pytest.mark.parametrize("reference", REFERENCES)
def test_references_are_resolved_as_in_the_rfc(reference: str) -> None:
    assert str(parse_url(reference, parse_url(BASE))) == REFERENCES[reference]


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("http://X.TEST/", "x.test"), ("http://bücher.test/", "xn--bcher-kva.test"), ("http://x.test:80/", "x.test"),
        ("http://x.test./", "x.test."), ("http://a_b.s3.test/", "a_b.s3.test"), ("http://%78.test/", "x.test"),
        ("http://xn--a.example/", "xn--a.example"), ("http://[2001:DB8:0::1]/", "2001:db8::1"),
        ("http://user:p@ss@x.test/", "x.test"), ("http://x.test:/", "x.test"),
    ],
)  # fmt: skip
def test_hosts_are_normalized(written: str, host: str) -> None:
    assert parse_url(written).host == host
    assert host_key(parse_url(written)) == host.rstrip(".")


def test_raw_bytes_in_the_host_of_a_location_are_read_as_utf8_or_latin1() -> None:
    base = parse_url("http://x.test/")
    for encoding in ("utf-8", "latin-1"):
        location = "http://bücher.test/".encode(encoding).decode("latin-1")
        assert parse_location(location, base).host == "xn--bcher-kva.test"


LONG = "".join(chr(0x4E00 + i) for i in range(2000))  # IDNA conversion takes quadratic time


@pytest.mark.parametrize("url", [f"http://{LONG}.test/", f"http://{'é' * 254}/", f"http://{quote(LONG)}/"])
def test_a_long_host_name_is_rejected_before_it_is_converted(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted = []
    monkeypatch.setattr(urls.yarl.URL, "build", lambda **parts: converted.append(parts))
    assert not is_web_url(url)
    assert url_host_key(url) == ""
    with pytest.raises(Rejected) as caught:
        parse_location(url.encode().decode("latin-1"), parse_url("http://x.test/"))
    assert caught.value.code == "bad_location"
    assert converted == []


@pytest.mark.parametrize(
    ("base", "text"),
    [
        ("", "http://x.test/{}"),
        ("", "http://x.test/?{}"),
        ("", "http://x.test/#{}"),
        ("http://x.test/a?b", "{}"),
    ],
)
def test_the_length_of_a_url_is_limited(base: str, text: str) -> None:
    start = parse_url(base) if base else None
    most = MAX_URL_LENGTH - len("http://x.test/?")
    parse_url(text.format("a" * most), start)
    for too_long in ("a" * MAX_URL_LENGTH, "é" * (MAX_URL_LENGTH // 2)):
        if too_long.isascii() or "#" not in text:  # a fragment is not sent
            with pytest.raises(Rejected, match="give one of at most 8,192") as caught:
                parse_url(text.format(too_long), start)
            assert caught.value.code == "bad_location"


def test_only_the_first_license_link_is_parsed(get: Get, web: Web) -> None:
    """A response may have thousands of links, each with a host name whose conversion takes milliseconds."""
    license_url = "http://x.test/" + "a" * 500
    links = f"<http://[/>; rel=license, <{license_url}>; rel=license"
    rows = get.rows([web.serve("/a", b"x", Link=links), web.serve("/b", b"x", Link=links.partition(", ")[2])])
    assert sorted(rows["license"].to_pylist(), key=str) == [None, license_url]


TEXT = st.text(st.sampled_from("ab1.:@/\\?#[]%0-_xn\t é\udce9\ud800ß①。\u200d\x00"), max_size=30)


@pytest.mark.parametrize("base", [None, parse_url("http://x.test/a/b?c")])
@pytest.mark.parametrize("text", HOSTILE_URLS)
def test_a_hostile_url_is_a_url_or_a_rejection(text: str, base: Url | None) -> None:
    check(text, base)


@settings(derandomize=True, deadline=None, max_examples=400)
@given(st.sampled_from(["", "http://", "https://x", "//", "http://xn--", "http://["]), TEXT, st.booleans())
@example("https://", "[v1.a]*:1@", False)
def test_any_text_is_a_url_or_a_rejection(start: str, text: str, relative: bool) -> None:
    check(start + text, parse_url("https://x.test/a?b") if relative else None)


def parsed(parse: Callable[[], Url]) -> Url | None:
    with contextlib.suppress(Rejected):
        return parse()
    return None


def test_any_text_has_a_group() -> None:
    assert groups_of([url_host_key(text) for text in HOSTILE_URLS], 256)


def check(text: str, base: Url | None) -> None:
    url = parsed(lambda: parse_url(text, base))
    assert is_web_url(text) == (parsed(lambda: parse_url(text)) is not None)
    if url is None:
        return
    written = str(url)
    assert written.isascii()
    assert written.isprintable()
    assert " " not in written
    assert url.target.startswith("/")
    assert parse_url(written) == url
    assert 0 < url.port < 65536
    assert url.host == url.host.lower()


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.binary(max_size=30), st.binary(max_size=30))
def test_no_byte_of_a_path_or_a_query_is_lost(path: bytes, query: bytes) -> None:
    """What goes out means the bytes that were written, whether they were percent-encoded or not."""
    unfit = bytes(range(32)) + b"\x7f#?"
    path, query = path.translate(None, unfit + b"."), query.translate(None, unfit)
    location = (b"/p" + path + b"?" + query + b"e").decode("latin-1")
    target = parse_location(location, parse_url("http://x.test/")).target
    assert unquote_to_bytes(target) == unquote_to_bytes(location.strip().encode("latin-1"))
    kept = [c for c in location if c in "%/:,@+&=;"]
    assert [c for c in target.replace("%", "\0%") if c in "/:,@+&=;"] == [c for c in kept if c != "%"]


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.binary(max_size=40))
def test_any_location_is_a_url_or_a_rejection(value: bytes) -> None:
    url = parsed(lambda: parse_location(value.decode("latin-1"), parse_url("http://x.test/a")))
    assert url is None or str(url).isprintable()
