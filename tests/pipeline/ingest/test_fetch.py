import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from pipeline.config import IngestConfig
from pipeline.ingest import fetch
from pipeline.ingest.fetch import Fetcher
from pipeline.rejections import Rejected
from tests.pipeline.ingest.conftest import Web

LIMIT = 1000


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "sub").mkdir(parents=True)
    return folder


@pytest.fixture
def fetcher(base: Path) -> Iterator[Fetcher]:
    config = IngestConfig(max_bytes=LIMIT, timeout_seconds=0.3, allow_private_hosts=True)
    made = Fetcher(str(base), config)
    yield made
    made.close()


@pytest.fixture
def careful(base: Path) -> Iterator[Fetcher]:
    """A fetcher that refuses private addresses, as it does outside of tests."""
    made = Fetcher(str(base), IngestConfig(max_bytes=LIMIT, timeout_seconds=0.3))
    yield made
    made.close()


def refused(get: Callable[[], bytes]) -> Rejected:
    with pytest.raises(Rejected) as caught:
        get()
    return caught.value


# Files


def test_a_file_below_the_base_folder_is_read(fetcher: Fetcher, base: Path) -> None:
    (base / "sub" / "a.jpg").write_bytes(b"picture")
    assert fetcher.fetch("sub/a.jpg", None) == b"picture"


def test_the_path_goes_before_the_url(fetcher: Fetcher, base: Path) -> None:
    (base / "a.jpg").write_bytes(b"picture")
    assert fetcher.fetch("a.jpg", "http://127.0.0.1:1/never-asked") == b"picture"


@pytest.mark.parametrize("path", ["missing.jpg", "sub", "a.txt/b.jpg"])
def test_what_is_no_file_is_not_found(fetcher: Fetcher, base: Path, path: str) -> None:
    (base / "a.txt").write_bytes(b"x")
    assert refused(lambda: fetcher.fetch(path, None)).code == "not_found"


def test_an_empty_file_and_a_large_one_are_rejected(fetcher: Fetcher, base: Path) -> None:
    (base / "empty").write_bytes(b"")
    (base / "just").write_bytes(b"x" * LIMIT)
    (base / "large").write_bytes(b"x" * (LIMIT + 1))
    assert refused(lambda: fetcher.fetch("empty", None)).code == "empty"
    assert len(fetcher.fetch("just", None)) == LIMIT
    assert refused(lambda: fetcher.fetch("large", None)).code == "too_large"


def test_a_path_that_is_too_long_for_the_system_is_a_rejection(fetcher: Fetcher) -> None:
    assert refused(lambda: fetcher.fetch("x" * 5000, None)).code == "fetch_failed"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_a_rejection(fetcher: Fetcher, base: Path) -> None:
    (base / "a").write_bytes(b"x")
    (base / "a").chmod(0)
    assert refused(lambda: fetcher.fetch("a", None)).code == "fetch_failed"


def test_links_out_of_the_base_folder_are_refused_and_links_within_are_not(
    fetcher: Fetcher, base: Path
) -> None:
    secret = base.parent / "secret"
    secret.write_bytes(b"secret")
    (base / "real").write_bytes(b"picture")
    (base / "within").symlink_to(base / "real")
    (base / "out").symlink_to(secret)
    (base / "folder-out").symlink_to(base.parent)
    (base / "loop").symlink_to(base / "loop")
    assert fetcher.fetch("within", None) == b"picture"
    assert refused(lambda: fetcher.fetch("out", None)).code == "bad_location"
    assert refused(lambda: fetcher.fetch("folder-out/secret", None)).code == "bad_location"
    assert refused(lambda: fetcher.fetch("loop", None)).code == "fetch_failed"


def test_a_folder_whose_name_begins_like_the_base_is_not_below_it(fetcher: Fetcher, base: Path) -> None:
    (base.parent / "source-secret").mkdir()
    (base.parent / "source-secret" / "a").write_bytes(b"secret")
    (base / "out").symlink_to(base.parent / "source-secret")
    assert refused(lambda: fetcher.fetch("out/a", None)).code == "bad_location"


# The web


def test_the_body_of_a_200_is_fetched(fetcher: Fetcher, web: Web) -> None:
    assert fetcher.fetch(None, web.serve("/a", b"picture")) == b"picture"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (404, "not_found"), (410, "not_found"), (403, "http_status"), (500, "http_status"), (503, "http_status"),
        (206, "http_status"), (204, "http_status"), (304, "http_status"),
    ],
)  # fmt: skip
def test_other_answers_are_rejections_that_tell_the_status(
    fetcher: Fetcher, web: Web, status: int, code: str
) -> None:
    found = refused(lambda: fetcher.fetch(None, web.serve("/a", status=status)))
    assert (found.code, f"HTTP {status}" in found.detail) == (code, True)


def test_an_empty_200_is_empty(fetcher: Fetcher, web: Web) -> None:
    assert refused(lambda: fetcher.fetch(None, web.serve("/a"))).code == "empty"


def test_nobody_listening_is_a_failure(fetcher: Fetcher) -> None:
    with socket.socket() as taken:  # bound, but it does not listen
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert refused(lambda: fetcher.fetch(None, f"http://127.0.0.1:{port}/")).code == "fetch_failed"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(fetcher: Fetcher, web: Web, status: int) -> None:
    web.serve("/end", b"picture")
    assert fetcher.fetch(None, web.redirect("/start", "/end", status)) == b"picture"


def chain(web: Web, length: int) -> str:
    web.serve(f"/{length}", b"picture")
    for i in range(length):
        web.redirect(f"/{i}", f"/{i + 1}")
    return web.url("/0")


def test_five_redirects_are_followed_and_six_are_not(fetcher: Fetcher, web: Web) -> None:
    assert fetcher.fetch(None, chain(web, 5)) == b"picture"
    found = refused(lambda: fetcher.fetch(None, chain(web, 6)))
    assert (found.code, "more than 5 redirects" in found.detail) == ("fetch_failed", True)


def test_a_loop_of_redirects_ends(fetcher: Fetcher, web: Web) -> None:
    web.redirect("/b", "/a")
    assert refused(lambda: fetcher.fetch(None, web.redirect("/a", "/b"))).code == "fetch_failed"
    assert len(web.asked) == 6


def test_a_redirect_without_a_place_is_a_status(fetcher: Fetcher, web: Web) -> None:
    assert refused(lambda: fetcher.fetch(None, web.serve("/a", status=302))).code == "http_status"


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/a", "gopher://x/"])
def test_a_redirect_to_what_is_not_http_is_refused(fetcher: Fetcher, web: Web, to: str) -> None:
    assert refused(lambda: fetcher.fetch(None, web.redirect("/a", to))).code == "bad_location"


@pytest.mark.parametrize(
    "to",
    [
        "http://[",
        "http://",
        "data:,x",
        "http://127.0.0.1:99999999/",
        "http://x:port/",
        "//[::1",
        "http://\x7f/",
    ],
)
def test_a_redirect_to_nonsense_is_a_rejection(fetcher: Fetcher, web: Web, to: str) -> None:
    assert refused(lambda: fetcher.fetch(None, web.redirect("/a", to))).code in (
        "bad_location",
        "fetch_failed",
    )


def test_a_redirect_from_a_public_host_to_a_private_one_is_refused(
    careful: Fetcher, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(web.address.rsplit(":", 1)[1])
    real = socket.getaddrinfo
    answers = {"public.test": ["93.184.215.14", "127.0.0.1"]}  # for the guard, then for the connection

    def resolve(host: "str | bytes", *rest: object, **more: object) -> list:
        name = host.decode() if isinstance(host, bytes) else host
        return real(answers[name].pop(0) if name in answers else name, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    web.redirect("/a", web.url("/secret"))
    web.serve("/secret", b"secret")
    found = refused(lambda: careful.fetch(None, f"http://public.test:{port}/a"))
    assert (found.code, "not a public address" in found.detail) == ("bad_location", True)
    assert web.asked == ["/a"]


def test_a_private_host_is_not_even_asked(careful: Fetcher, web: Web) -> None:
    assert refused(lambda: careful.fetch(None, web.serve("/a", b"secret"))).code == "bad_location"
    assert web.asked == []


def test_a_body_over_the_limit_is_rejected_whether_or_not_its_length_is_told(
    fetcher: Fetcher, web: Web
) -> None:
    def endless(request: BaseHTTPRequestHandler) -> None:
        request.protocol_version = "HTTP/1.1"
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        for _ in range(100_000):
            request.wfile.write(b"64\r\n" + b"x" * 100 + b"\r\n")

    assert refused(lambda: fetcher.fetch(None, web.serve("/told", b"x" * 1001))).code == "too_large"
    assert refused(lambda: fetcher.fetch(None, web.raw("/endless", endless))).code == "too_large"
    assert len(fetcher.fetch(None, web.serve("/just", b"x" * 1000))) == 1000


def test_a_body_shorter_than_told_is_a_failure(fetcher: Fetcher, web: Web) -> None:
    assert (
        refused(lambda: fetcher.fetch(None, web.serve("/a", b"x" * 10, Content_Length="500"))).code
        == "fetch_failed"
    )


def test_a_connection_that_breaks_in_the_middle_is_a_failure(fetcher: Fetcher, web: Web) -> None:
    def reset(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "500")
        request.end_headers()
        request.wfile.write(b"x" * 10)
        request.wfile.flush()
        request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.connection.close()

    assert refused(lambda: fetcher.fetch(None, web.raw("/a", reset))).code == "fetch_failed"


def test_what_is_no_http_is_a_failure(fetcher: Fetcher, web: Web) -> None:
    found = refused(
        lambda: fetcher.fetch(None, web.raw("/a", lambda r: r.wfile.write(b"SSH-2.0-OpenSSH\r\n")))
    )
    assert found.code == "fetch_failed"


def test_a_server_that_does_not_answer_is_given_up(fetcher: Fetcher, web: Web) -> None:
    release = threading.Event()
    start = time.monotonic()
    assert (
        refused(lambda: fetcher.fetch(None, web.raw("/a", lambda _: release.wait(5)))).code == "fetch_failed"
    )
    release.set()
    assert time.monotonic() - start < 3


def test_a_server_that_drips_is_given_up(fetcher: Fetcher, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "DOWNLOAD_TIMEOUTS", 1)

    def drip(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "500")
        request.end_headers()
        for _ in range(500):  # each byte in time, all of them in 25 seconds
            request.wfile.write(b"x")
            request.wfile.flush()
            time.sleep(0.05)

    found = refused(lambda: fetcher.fetch(None, web.raw("/a", drip)))
    assert (found.code, "too slow" in found.detail) == ("fetch_failed", True)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_packed_bodies_are_neither_asked_for_nor_unpacked(fetcher: Fetcher, web: Web, encoding: str) -> None:
    wanted = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        wanted.append(request.headers["Accept-Encoding"])
        request.send_response(200)
        request.send_header("Content-Encoding", encoding)
        request.end_headers()
        request.wfile.write(b"bomb")

    found = refused(lambda: fetcher.fetch(None, web.raw("/a", answer)))
    assert (found.code, encoding in found.detail) == ("fetch_failed", True)
    assert wanted == ["identity"]


def test_the_environment_names_no_proxy(base: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    made = Fetcher(str(base), IngestConfig(allow_private_hosts=True))
    assert made.fetch(None, web.serve("/a", b"picture")) == b"picture"
    made.close()
