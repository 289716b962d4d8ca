"""Servers of all kinds: no crash, no hang beyond the deadline, the right code for each."""

import datetime
import gzip
import json
import socket
import ssl
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import aiohttp.connector
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipeline.config import IngestConfig
from pipeline.ingest.fetch import Fetcher
from pipeline.ingest.store import Store
from pipeline.ingest.web import TDM_FILE
from pipeline.rejections import Rejected
from schemas.errors import DataError
from tests.pipeline.ingest.conftest import Get, Web, body, refused

Request = BaseHTTPRequestHandler


def raw(web: Web, path: str, *pieces: bytes, pause: float = 0.0, hold: float = 0.0) -> str:
    """Answer `path` with these bytes, and close."""

    def answer(request: Request) -> None:
        for piece in pieces:
            request.wfile.write(piece)
            request.wfile.flush()
            time.sleep(pause)
        time.sleep(hold)
        request.close_connection = True

    return web.raw(path, answer)


IMPATIENT = {"timeout_seconds": 0.4, "deadline_seconds": 0.8}
OK = b"HTTP/1.1 200 OK\r\n"


# Answers


def test_the_body_of_a_200_is_fetched_and_how_is_told(get: Get, web: Web) -> None:
    found = get(web.serve("/a", b"picture"))
    assert body(found) == b"picture"
    asked = found.asked
    assert asked is not None
    assert (asked.host, asked.status, asked.bytes_seen, asked.attempts) == ("127.0.0.1", 200, 7, 1)
    assert 0 < asked.seconds < 1


@pytest.mark.parametrize(
    ("status", "code", "attempts"),
    [
        (404, "not_found", 1), (410, "not_found", 1), (401, "http_status", 1), (403, "http_status", 1),
        (451, "http_status", 1), (206, "http_status", 1), (204, "http_status", 1), (304, "http_status", 1),
        (300, "http_status", 1), (429, "rate_limited", 3), (500, "server_error", 3), (503, "server_error", 3),
        (599, "server_error", 3),
    ],
)  # fmt: skip
def test_other_answers_are_rejections_that_tell_the_status(
    get: Get, web: Web, status: int, code: str, attempts: int
) -> None:
    found = refused(get(web.serve("/a", status=status)))
    assert (found.code, f"HTTP {status}" in found.detail) == (code, True)
    assert found.asked is not None
    assert (found.asked.status, found.asked.attempts) == (status, attempts)
    assert len(web.asked) == attempts


def test_an_empty_200_is_empty(get: Get, web: Web) -> None:
    assert refused(get(web.serve("/a"))).code == "empty"


def test_a_page_and_a_drawing_are_bytes_whose_kind_is_told_by_decoding(get: Get, web: Web) -> None:
    assert body(get(web.serve("/a", b"<html>", Content_Type="image/jpeg"))) == b"<html>"


def test_who_asks_is_told_and_how_to_reach_them(get: Get, web: Web) -> None:
    get(web.serve("/a", b"x"))
    sent = web.headers[0]
    assert sent["User-Agent"].startswith("controlled-noise/")
    assert "test@example.org" in sent["User-Agent"]
    assert not {"Cookie", "Authorization", "Referer"} & set(sent)


def test_without_a_contact_no_url_is_asked(tmp_path: Path) -> None:
    config = IngestConfig()
    line = {"image_id": "a", "path": None, "url": "http://93.184.215.14/", "sha256": None}
    fetcher = Fetcher("", config)
    with pytest.raises(DataError, match=r"set ingest\.contact"):
        list(fetcher.fetch_all([line], Store(str(tmp_path), 1, [], config)))
    fetcher.close()


def test_names_and_passwords_of_a_url_are_not_sent(get: Get, web: Web) -> None:
    url = web.serve("/a", b"x").replace("127.0.0.1", "user:word@127.0.0.1")
    assert body(get(url)) == b"x"
    assert "Authorization" not in web.headers[0]


def test_cookies_are_not_kept(get: Get, web: Web) -> None:
    web.serve("/end", b"x")
    assert body(get(web.serve("/a", status=302, Location="/end", Set_Cookie="a=b"))) == b"x"
    assert all("Cookie" not in headers for headers in web.headers)


def test_the_environment_names_no_proxy(get: Get, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert body(get(web.serve("/a", b"picture"))) == b"picture"


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(get: Get, web: Web, status: int) -> None:
    web.serve("/end", b"picture")
    assert body(get(web.redirect("/start", "/end", status))) == b"picture"


def chain(web: Web, length: int) -> str:
    web.serve(f"/{length}", b"picture")
    for i in range(length):
        web.redirect(f"/{i}", f"/{i + 1}")
    return web.url("/0")


def test_five_redirects_are_followed_and_six_are_not(get: Get, web: Web) -> None:
    start = chain(web, 6)
    found = refused(get(start))
    assert (found.code, "more than 5 redirects" in found.detail) == ("too_many_redirects", True)
    assert body(get(start.replace("/0", "/1"))) == b"picture"


def test_a_loop_of_redirects_ends(get: Get, web: Web) -> None:
    web.redirect("/b", "/a")
    assert refused(get(web.redirect("/a", "/b"))).code == "too_many_redirects"
    assert len(web.asked) == 6


def test_a_redirect_without_a_place_is_a_status(get: Get, web: Web) -> None:
    assert refused(get(web.serve("/a", status=302))).code == "http_status"


@pytest.mark.parametrize(
    "to",
    [
        "file:///etc/passwd", "ftp://127.0.0.1/a", "gopher://x/", "http://[", "http://", "data:,x",
        "http://127.0.0.1:99999999/", "http://x:port/", "//[::1", "http://\x7f/", "http://127.0.0.1:0/",
        "javascript:alert(1)", "http://a b/",
    ],
)  # fmt: skip
def test_a_redirect_to_what_is_not_http_or_is_nonsense_is_refused(get: Get, web: Web, to: str) -> None:
    code = refused(get(web.redirect("/a", to))).code
    # http:// is the same page again
    assert code == {"http://": "too_many_redirects", "http://a b/": "unknown_host"}.get(to, "bad_location")


# Addresses


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Name → its answers, one after the other, the last one for ever."""
    answers: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def resolve(host: "str | bytes", *rest: object, **more: object) -> list:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in answers:
            return real(name, *rest, **more)  # type: ignore[arg-type]
        address = answers[name].pop(0) if len(answers[name]) > 1 else answers[name][0]
        return real(address, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return answers


@pytest.fixture
def as_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loopback plays the public internet; the other private addresses stay private."""
    from pipeline.ingest import guard

    real = guard.is_public
    monkeypatch.setattr(guard, "is_public", lambda address: address == "127.0.0.1" or real(address))


def test_a_private_host_is_not_even_connected_to(get: Get, web: Web) -> None:
    found = refused(get(web.serve("/a", b"secret"), allow_private_hosts=False))
    assert (found.code, "127.0.0.1 is not a public address" in found.detail) == ("private_address", True)
    assert web.asked == []


@pytest.mark.usefixtures("as_public")
@pytest.mark.parametrize(
    "to",
    [
        "http://169.254.169.254/latest/meta-data/", "http://[::ffff:127.0.0.1]/", "http://[::1]/", "http://10.0.0.1/",
        "http://[::ffff:a9fe:a9fe]/", "http://0x7f.1.1.1/", "http://100.64.0.1/", "http://224.0.0.1/",
        "http://[64:ff9b::a9fe:a9fe]/", "http://inside.test/",
    ],
)  # fmt: skip
def test_a_redirect_to_a_private_address_is_refused(
    get: Get, web: Web, names: dict[str, list[str]], to: str
) -> None:
    names["inside.test"] = ["192.168.0.1"]
    found = refused(get(web.redirect("/a", to), allow_private_hosts=False))
    assert (found.code, web.asked) == ("private_address", ["/a"])


@pytest.mark.usefixtures("as_public")
def test_an_answer_of_the_name_server_that_changes_leads_nowhere(
    get: Get, web: Web, names: dict[str, list[str]]
) -> None:
    """The address that was checked is the one that is connected to: there is no second look-up in between."""
    port = web.address.rsplit(":", 1)[1]
    web.serve("/a", b"picture")
    names["rebinding.test"] = ["127.0.0.1", "10.0.0.1"]
    assert body(get(f"http://rebinding.test:{port}/a", allow_private_hosts=False)) == b"picture"
    assert names["rebinding.test"] == ["10.0.0.1"]
    found = refused(get(f"http://rebinding.test:{port}/b", allow_private_hosts=False))
    assert found.code == "private_address"


def test_a_name_that_does_not_resolve_is_told_apart(get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> list:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert refused(get("http://images.test/a.jpg")).code == "unknown_host"
    assert refused(get(f"http://{'x' * 70}.test/a.jpg")).code in ("unknown_host", "bad_location")


def test_nobody_listening_is_a_failed_connection(get: Get) -> None:
    with socket.socket() as taken:  # bound, but it does not listen
        taken.bind(("127.0.0.1", 0))
        found = refused(get(f"http://127.0.0.1:{taken.getsockname()[1]}/"))
    assert (found.code, found.asked and found.asked.attempts) == ("connection_failed", 1)


# TLS


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], int]]:
    """Starts a server whose certificate is for good.test, and perhaps trusts it; gives its port."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "good.test")])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now - day, now + day
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("good.test")]), False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404 if self.path == "/robots.txt" else 200)
            self.end_headers()
            self.wfile.write(b"picture")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()

    def start(trusted: bool) -> int:
        if trusted:
            verifying = ssl.create_default_context(cafile=str(pem))
            monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", verifying)
        return server.server_port

    yield start
    server.shutdown()
    server.server_close()


def test_tls_is_verified_against_the_name_of_the_host(
    get: Get, secure: Callable[[bool], int], names: dict[str, list[str]]
) -> None:
    names["good.test"] = names["other.test"] = ["127.0.0.1"]
    port = secure(False)
    assert refused(get(f"https://good.test:{port}/self-signed")).code == "tls_failed"
    port = secure(True)
    assert body(get(f"https://good.test:{port}/a")) == b"picture"
    assert refused(get(f"https://other.test:{port}/a")).code == "tls_failed"
    assert refused(get(f"https://127.0.0.1:{port}/a")).code == "tls_failed"


def test_a_server_without_tls_is_told_from_one_with_a_bad_certificate(get: Get, web: Web) -> None:
    found = refused(get(web.serve("/a", b"x").replace("http:", "https:")))
    assert found.code in ("tls_failed", "connection_failed")


# Bodies


def test_a_body_over_the_limit_is_rejected_whether_or_not_its_length_is_told(get: Get, web: Web) -> None:
    chunks = (b"64\r\n" + b"x" * 100 + b"\r\n" for _ in range(100_000))
    endless = raw(web, "/endless", OK + b"Transfer-Encoding: chunked\r\n\r\n", *chunks)
    told, just = web.serve("/told", b"x" * 1001), web.serve("/just", b"x" * 1000)
    found = get.all([endless, told, just, raw(web, "/until-close", OK + b"\r\n", b"x" * 2000)])
    assert [refused(found[i]).code for i in (0, 1, 3)] == ["too_large"] * 3
    assert len(body(found[2])) == 1000


def test_a_length_that_is_wrong(get: Get, web: Web) -> None:
    short, long, bad, two = get.all(
        [
            web.serve("/short", b"x" * 10, Content_Length="500"),
            web.serve("/long", b"x" * 500, Content_Length="10"),
            raw(web, "/bad", OK + b"Content-Length: ten\r\n\r\n" + b"x" * 10),
            raw(web, "/two", OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
        ]
    )
    assert (refused(short).code, refused(short).asked.bytes_seen) == ("incomplete", 10)  # type: ignore[union-attr]
    # What follows the ten bytes is nobody's, and an error if it comes with them.
    assert long.code == "bad_response" if isinstance(long, Rejected) else long.data == b"x" * 10
    assert refused(bad).code == "bad_response"
    assert refused(two).code == "bad_response"


def test_a_connection_that_is_reset_in_the_middle(get: Get, web: Web) -> None:
    def reset(request: Request) -> None:
        request.wfile.write(OK + b"Content-Length: 500\r\n\r\n" + b"x" * 10)
        time.sleep(0.05)
        request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.connection.close()

    found = refused(get(web.raw("/a", reset)))
    assert (found.code, found.asked and found.asked.attempts) == ("incomplete", 3)


def test_a_connection_that_is_closed_without_an_answer(get: Get, web: Web) -> None:
    found = refused(get(raw(web, "/a")))
    assert (found.code, found.asked and found.asked.attempts) == ("connection_failed", 3)


@pytest.mark.parametrize(
    "answer",
    [
        b"\xff\xd8\xff\xe0 HTTP/0.9 has no headers", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", b"HTTP/9.9 200 OK\r\n\r\n",
        OK + b"X: " + b"x" * 100_000 + b"\r\n\r\n", b"HTTP/1.1 200 " + b"x" * 100_000 + b"\r\n\r\n",
        OK + b"".join(b"X-%d: x\r\n" % i for i in range(100_000)) + b"\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nxx\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nxxxxx\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nxxxxxxx\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\nx",
        OK + b"Content-Length: 2\r\nX: \x00\r\n\r\nxx",
    ],
)  # fmt: skip
def test_what_http_does_not_allow_is_a_bad_response(get: Get, web: Web, answer: bytes) -> None:
    assert refused(get(raw(web, "/a", answer))).code == "bad_response"


@pytest.mark.parametrize("wrong", [b"zz\r\nxx\r\n", b"-5\r\nxxxxx\r\n", b"2\r\nxxxxxxx\r\n"])
def test_wrong_chunks_behind_good_ones_are_a_bad_response_at_once(get: Get, web: Web, wrong: bytes) -> None:
    first = OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nxxxxx\r\n"
    found = refused(
        get(raw(web, "/a", first, wrong, pause=0.1, hold=1), deadline_seconds=60, timeout_seconds=60)
    )
    assert found.code == "bad_response"
    assert found.asked
    assert found.asked.attempts == 1


def test_chunks_that_break_off_are_incomplete(get: Get, web: Web) -> None:
    assert (
        refused(get(raw(web, "/a", OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nxx"))).code == "incomplete"
    )


def test_informational_answers_come_before_the_real_one(get: Get, web: Web) -> None:
    answer = b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\nx"
    assert body(get(raw(web, "/a", answer))) == b"x"


# Deadlines


def test_servers_that_are_slow_are_given_up_at_the_deadline(get: Get, web: Web) -> None:
    release = threading.Event()
    silent = web.raw("/silent", lambda _: bool(release.wait(20)) and None)
    body_drip = raw(web, "/body", OK + b"Content-Length: 500\r\n\r\n", *[b"x"] * 400, pause=0.05)
    head_drip = raw(web, "/head", OK, *[b"X: x\r\n"] * 400, pause=0.05)
    line_drip = raw(web, "/line", *[b"H"] * 400, pause=0.05)
    endless = raw(web, "/endless", OK + b"\r\n", *[b""] * 400, pause=0.05)
    hints = raw(web, "/hints", *[b"HTTP/1.1 102 Wait\r\n\r\n"] * 400, pause=0.05)
    start = time.monotonic()
    urls = [silent, body_drip, head_drip, line_drip, endless, hints]
    found = [refused(result) for result in get.all(urls, robots_txt=False, **IMPATIENT)]
    release.set()
    assert time.monotonic() - start < 15  # they would take 20
    codes = [result.code for result in found]
    assert codes[:3] + codes[4:] == ["timeout"] * 5
    assert codes[3] in ("timeout", "bad_response")  # HHH is no way to begin
    assert found[1].asked is not None
    assert found[1].asked.bytes_seen > 0


def test_a_server_that_accepts_no_connection_is_given_up(get: Get) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:  # the queue of the listener is full then: further ones wait for ever
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        found = refused(get(f"http://127.0.0.1:{full.getsockname()[1]}/", robots_txt=False, **IMPATIENT))
        for one in waiting:
            one.close()
    assert found.code == "timeout"


# Packed bodies


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "GZIP"])
def test_packed_bodies_are_not_asked_for_but_unpacked_where_they_come(
    get: Get, web: Web, encoding: str
) -> None:
    data = zlib.compress(b"picture") if encoding == "deflate" else gzip.compress(b"picture")
    assert body(get(web.serve("/a", data, Content_Encoding=encoding))) == b"picture"
    assert web.headers[0]["Accept-Encoding"] == "identity"


def test_a_bomb_is_rejected_before_it_has_unfolded(get: Get, web: Web) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    found = refused(get(web.serve("/a", bomb, Content_Encoding="gzip"), max_bytes=1_000_000))
    assert (found.code, len(bomb) < 100_000) == ("too_large", True)
    assert (
        refused(get(web.serve("/b", gzip.compress(bytes(1001)), Content_Encoding="gzip"))).code == "too_large"
    )


def test_packed_bodies_that_are_damaged(get: Get, web: Web) -> None:
    packed = gzip.compress(b"picture" * 10)
    cut = web.serve("/cut", packed[:-9], Content_Encoding="gzip")
    junk = web.serve("/junk", b"junk", Content_Encoding="gzip")
    assert [refused(found).code for found in get.all([cut, junk])] == ["incomplete", "bad_response"]


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "nonsense"])
def test_other_encodings_are_refused(get: Get, web: Web, encoding: str) -> None:
    found = refused(get(web.serve("/a", b"x", Content_Encoding=encoding)))
    assert (found.code, encoding in found.detail) == ("bad_response", True)


# Another try


def after(web: Web, path: str, *statuses: tuple[int, dict[str, str]]) -> str:
    """Answer with these statuses, one after the other, then with a picture."""
    left = list(statuses)

    def answer(request: Request) -> None:
        status, headers = left.pop(0) if left else (200, {})
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(b"picture")

    return web.raw(path, answer)


def test_what_may_pass_is_tried_again_so_often_and_no_more(get: Get, web: Web) -> None:
    found = get(after(web, "/a", (503, {}), (429, {})))
    assert (body(found), found.asked and found.asked.attempts) == (b"picture", 3)
    found = refused(get(after(web, "/b", (503, {}), (500, {}), (429, {}))))
    assert (found.code, web.asked.count("/b")) == ("rate_limited", 3)
    assert refused(get(after(web, "/c", (503, {})), tries=1)).code == "server_error"


def test_a_wait_that_the_server_asks_for_is_kept_by_all_who_ask_the_host(get: Get, web: Web) -> None:
    times: list[float] = []
    first = after(web, "/a", (429, {"Retry-After": "1"}))

    def answer(request: Request) -> None:
        times.append(time.monotonic())
        request.send_response(200)
        request.end_headers()
        request.wfile.write(b"x")

    start = time.monotonic()
    found = get.all([first, web.raw("/b", answer)], host_fetches=1)
    assert [body(result) for result in found] == [b"picture", b"x"]
    assert times[0] - start > 0.9
    assert time.monotonic() - start < 4


@pytest.mark.parametrize("far", [True, False])
def test_a_date_to_wait_for_is_understood_and_one_too_far_away_ends_it(get: Get, web: Web, far: bool) -> None:
    when = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=3600 if far else -5)
    found = get(after(web, "/a", (503, {"Retry-After": format_datetime(when, usegmt=True)})))
    assert len(web.asked) == (1 if far else 2)
    assert (refused(found).code if far else body(found)) == ("server_error" if far else b"picture")


@pytest.mark.parametrize("text", ["soon", "-1", "1e9", "", "Mon, 99 Foo 2020"])
def test_a_wait_that_makes_no_sense_is_none(get: Get, web: Web, text: str) -> None:
    assert body(get(after(web, "/a", (503, {"Retry-After": text})))) == b"picture"


# What hosts wish


def test_robots_txt_is_asked_for_once_and_obeyed(get: Get, web: Web) -> None:
    rules = b"User-agent: *\nDisallow: /\n\nUser-agent: controlled-noise\nDisallow: /no\n"
    count = []

    def robots(request: Request) -> None:
        count.append(1)
        request.send_response(200)
        request.end_headers()
        request.wfile.write(rules)

    web.raw("/robots.txt", robots)
    urls = [web.serve(f"/{name}", b"x") for name in ("yes", "yes2", "no/a")]
    found = get.all(urls)
    assert [body(result) for result in found[:2]] == [b"x", b"x"]
    assert refused(found[2]).code == "robots_disallowed"
    assert (len(count), sorted(web.asked)) == (1, ["/yes", "/yes2"])
    assert body(get(urls[2], robots_txt=False)) == b"x"
    assert len(count) == 1


def test_the_robots_txt_of_the_place_that_a_redirect_leads_to_counts_too(
    get: Get, web: Web, names: dict[str, list[str]]
) -> None:
    port = web.address.rsplit(":", 1)[1]
    names["other.test"] = ["127.0.0.1"]

    def robots(request: Request) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(
            b"User-agent: *\nDisallow: /" + (b"" if "other" in request.headers["Host"] else b"x")
        )

    web.raw("/robots.txt", robots)
    found = refused(get(web.redirect("/a", f"http://other.test:{port}/b")))
    assert (found.code, web.asked) == ("robots_disallowed", ["/a"])


@pytest.mark.parametrize(
    ("status", "allowed"), [(404, True), (403, True), (401, True), (500, False), (503, False), (429, False)]
)
def test_a_robots_txt_that_is_not_there_allows_and_one_that_cannot_be_had_does_not(
    get: Get, web: Web, status: int, allowed: bool
) -> None:
    web.serve("/robots.txt", status=status)
    found = get(web.serve("/a", b"x"))
    if allowed:
        assert body(found) == b"x"
    else:
        assert refused(found).code == "robots_disallowed"


@pytest.mark.parametrize(
    "text", [b"", b"\xff\xfe\x00", b"<html>", b"Disallow /", b"User-agent: *\nCrawl-delay: x"]
)
def test_a_robots_txt_of_nonsense_allows(get: Get, web: Web, text: bytes) -> None:
    web.serve("/robots.txt", text)
    assert body(get(web.serve("/a", b"x"))) == b"x"


@pytest.mark.parametrize(
    ("header", "value", "switch"),
    [
        ("X_Robots_Tag", "noai", "x_robots_tag"), ("X_Robots_Tag", "nofollow, NoImageAI", "x_robots_tag"),
        ("X_Robots_Tag", "noindex", "x_robots_tag"), ("X_Robots_Tag", "noimageindex", "x_robots_tag"),
        ("X_Robots_Tag", "none", "x_robots_tag"), ("X_Robots_Tag", "controlled-noise: noai", "x_robots_tag"),
        ("X_Robots_Tag", "otherbot: nofollow, controlled-noise: noai", "x_robots_tag"),
        ("TDM_Reservation", "1", "tdm_reservation"),
    ],
)  # fmt: skip
def test_who_opts_out_is_heard_unless_that_is_switched_off(
    get: Get, web: Web, header: str, value: str, switch: str
) -> None:
    url = web.serve("/a", b"x", **{header: value})
    found = refused(get(url))
    assert (found.code, header.replace("_", "-") in found.detail) == ("opted_out", True)
    assert body(get(url, **{switch: False})) == b"x"


def test_what_a_host_reserves_by_a_file_is_asked_for_once_and_obeyed(get: Get, web: Web) -> None:
    rules = [
        {"location": "/art/*", "tdm-reservation": 1, "tdm-policy": "https://example.org/policy.json"},
        {"location": "/art/free/", "tdm-reservation": 0},
        {"location": "*.png$", "tdm-reservation": 1},
        {"location": "/line\nbreak", "tdm-reservation": 1}, {"location": 3}, "rubbish",
    ]  # fmt: skip
    count = []

    def reservations(request: Request) -> None:
        count.append(1)
        request.send_response(200)
        request.end_headers()
        request.wfile.write(json.dumps(rules).encode())

    web.raw(TDM_FILE, reservations)
    free = [web.serve(path, b"x") for path in ("/a", "/art/free/b", "/c.png.jpg", "/line")]
    free.append(web.serve("/art/d", b"x", TDM_Reservation="0"))  # an answer's own word is the last one
    taken = [web.serve(path, b"x") for path in ("/art/e", "/f.png")]
    found = get.all([*free, *taken])
    assert [body(result) for result in found[: len(free)]] == [b"x"] * len(free)
    for result in found[len(free) :]:
        assert (refused(result).code, TDM_FILE in refused(result).detail) == ("opted_out", True)
    assert len(count) == 1
    assert body(get(taken[0], tdm_reservation=False)) == b"x"


@pytest.mark.parametrize(
    "text", [b"", b"<html>", b"{}", b"[[1]]", b"[" * 100_000, b"\xff\xfe", b'[{"location": "/"}]']
)
def test_a_tdmrep_json_of_nonsense_reserves_nothing(get: Get, web: Web, text: bytes) -> None:
    web.serve(TDM_FILE, text)
    assert body(get(web.serve("/a", b"x"))) == b"x"


@pytest.mark.parametrize("status", [403, 410, 429, 503])
def test_a_tdmrep_json_that_cannot_be_had_reserves_nothing(get: Get, web: Web, status: int) -> None:
    web.serve(TDM_FILE, status=status)
    assert body(get(web.serve("/a", b"x"))) == b"x"


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X_Robots_Tag", "otherbot: noai, noindex"), ("X_Robots_Tag", "nofollow, all"), ("TDM_Reservation", "0"),
        ("X_Robots_Tag", "unavailable_after: 25 Jun 2030 15:00:00 PST"), ("X_Robots_Tag", "max-snippet: 0"),
    ],
)  # fmt: skip
def test_other_wishes_are_not_about_us(get: Get, web: Web, header: str, value: str) -> None:
    assert body(get(web.serve("/a", b"x", **{header: value}))) == b"x"


def test_a_host_is_asked_by_few_at_once_and_not_too_often(get: Get, web: Web) -> None:
    lock, now, most, times = threading.Lock(), [0], [0], []

    def answer(request: Request) -> None:
        with lock:
            times.append(time.monotonic())
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        request.send_response(200)
        request.end_headers()
        request.wfile.write(b"x")

    urls = [web.raw(f"/{i}", answer) for i in range(12)]
    get.all(urls, host_fetches=3, host_per_second=40.0)
    assert most[0] <= 3
    assert times[-1] - times[0] >= 11 / 40 - 0.02
