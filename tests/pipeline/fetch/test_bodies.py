"""Bodies that are too large, too long, broken, late or packed: the right code for each, before the deadline."""

import gzip
import socket
import struct
import threading
import time
import zlib

import pytest

from pipeline.rejections import Rejected
from tests.pipeline.fetch.conftest import IMPATIENT, OK, Get, Request, Web, body, raw, refused

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
