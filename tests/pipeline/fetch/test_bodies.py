"""Bodies that are too large, damaged, slow or compressed get the right code before the deadline."""

import gzip
import socket
import struct
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

from common.errors import DataError
from pipeline.fetch import body as body_module
from pipeline.fetch.body import BodyTooLong, Decompressor
from pipeline.rejections import Rejected
from tests.pipeline.fetch.conftest import IMPATIENT, OK, Get, Request, Web, body, raw, refused

# Bodies


def test_a_body_over_the_limit_is_rejected_with_and_without_content_length(get: Get, web: Web) -> None:
    chunks = (b"64\r\n" + b"x" * 100 + b"\r\n" for _ in range(100_000))
    endless = raw(web, "/endless", OK + b"Transfer-Encoding: chunked\r\n\r\n", *chunks)
    reported, just = web.serve("/told", b"x" * 1001), web.serve("/just", b"x" * 1000)
    actual = get.all([endless, reported, just, raw(web, "/until-close", OK + b"\r\n", b"x" * 2000)])
    assert [refused(actual[i]).code for i in (0, 1, 3)] == ["too_large"] * 3
    assert len(body(actual[2])) == 1000


def test_a_wrong_content_length(get: Get, web: Web) -> None:
    short, long, bad, two = get.all(
        [
            web.serve("/short", b"x" * 10, Content_Length="500"),
            web.serve("/long", b"x" * 500, Content_Length="10"),
            raw(web, "/bad", OK + b"Content-Length: ten\r\n\r\n" + b"x" * 10),
            raw(web, "/two", OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
        ]
    )
    assert (refused(short).code, refused(short).stats.bytes_seen) == ("incomplete", 10)  # type: ignore[union-attr]
    # What follows the ten bytes is nobody's, and an error if it comes with them.
    assert long.code == "bad_response" if isinstance(long, Rejected) else long.data == b"x" * 10
    assert refused(bad).code == "bad_response"
    assert refused(two).code == "bad_response"


def test_a_connection_reset_within_the_body(get: Get, web: Web) -> None:
    def reset(request: Request) -> None:
        request.wfile.write(OK + b"Content-Length: 500\r\n\r\n" + b"x" * 10)
        time.sleep(0.05)
        request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.connection.close()

    actual = refused(get(web.raw("/a", reset)))
    assert (actual.code, actual.stats and actual.stats.attempts) == ("incomplete", 3)


def test_a_connection_that_is_closed_without_an_answer(get: Get, web: Web) -> None:
    actual = refused(get(raw(web, "/a")))
    assert (actual.code, actual.stats and actual.stats.attempts) == ("connection_failed", 3)


@pytest.mark.parametrize(
    "answer",
    [
        b"\xff\xd8\xff\xe0 HTTP/0.9 has no headers", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n", b"HTTP/1.1 101 Switch\r\n\r\n", b"HTTP/9.9 200 OK\r\n\r\n",
        OK + b"X: " + b"x" * 300_000 + b"\r\n\r\n", b"HTTP/1.1 200 " + b"x" * 300_000 + b"\r\n\r\n",
        b"HTTP/1.1 103 Hints\r\nX: " + b"x" * 200_000 + b"\r\n\r\n" + OK + b"X: " + b"x" * 100_000 + b"\r\n\r\n",
        OK + b"".join(b"X-%d: x\r\n" % i for i in range(100_000)) + b"\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nxx\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nxxxxx\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nxxxxxxx\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\nx",
        OK + b"Content-Length: 2\r\nX: \x00\r\n\r\nxx",
    ],
)  # fmt: skip
def test_invalid_http_is_a_bad_response(get: Get, web: Web, answer: bytes) -> None:
    assert refused(get(raw(web, "/a", answer))).code == "bad_response"


@pytest.mark.parametrize("wrong", [b"zz\r\nxx\r\n", b"-5\r\nxxxxx\r\n", b"2\r\nxxxxxxx\r\n"])
def test_an_invalid_chunk_is_a_bad_response_without_a_retry(get: Get, web: Web, wrong: bytes) -> None:
    first = OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nxxxxx\r\n"
    actual = refused(
        get(raw(web, "/a", first, wrong, pause=0.1, hold=1), deadline_seconds=60, timeout_seconds=60)
    )
    assert actual.code == "bad_response"
    assert actual.stats
    assert actual.stats.attempts == 1


def test_missing_chunks_are_incomplete(get: Get, web: Web) -> None:
    assert (
        refused(get(raw(web, "/a", OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nxx"))).code == "incomplete"
    )


def test_tiny_chunks_are_limited(get: Get, web: Web) -> None:
    few, many = (
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1;xx\r\nx\r\n" * count for count in (1000, 90_000)
    )
    limits = {"max_bytes": 1_000_000}
    assert body(get(raw(web, "/few", few + b"0\r\n\r\n"), **limits)) == b"x" * 1000
    actual = refused(get(raw(web, "/many", many + b"0\r\n\r\n"), **limits))
    assert (actual.code, "between the chunks" in actual.detail) == ("bad_response", True)


def test_interim_responses_are_skipped(get: Get, web: Web) -> None:
    answer = b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\nx"
    assert body(get(raw(web, "/a", answer))) == b"x"


# Deadlines


def test_slow_servers_time_out_at_the_deadline(get: Get, web: Web) -> None:
    release = threading.Event()
    silent = web.raw("/silent", lambda _: bool(release.wait(20)) and None)
    body_drip = raw(web, "/body", OK + b"Content-Length: 500\r\n\r\n", *[b"x"] * 400, pause=0.05)
    head_drip = raw(web, "/head", OK, *[b"X: x\r\n"] * 400, pause=0.05)
    line_drip = raw(web, "/line", *[b"H"] * 400, pause=0.05)
    endless = raw(web, "/endless", OK + b"\r\n", *[b""] * 400, pause=0.05)
    hints = raw(web, "/hints", *[b"HTTP/1.1 102 Wait\r\n\r\n"] * 400, pause=0.05)
    urls = [silent, body_drip, head_drip, line_drip, endless, hints]
    actual = [refused(result) for result in get.all(urls, robots_txt=False, **IMPATIENT)]
    release.set()
    codes = [result.code for result in actual]
    assert codes[:3] + codes[4:] == ["timeout"] * 5
    assert codes[3] in ("timeout", "bad_response")  # HHH is no way to begin
    assert actual[1].stats is not None
    assert actual[1].stats.bytes_seen > 0


def test_a_server_that_accepts_no_connection_times_out(get: Get) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:  # the queue of the listener is full then: further ones wait for ever
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        actual = refused(get(f"http://127.0.0.1:{full.getsockname()[1]}/", robots_txt=False, **IMPATIENT))
        for one in waiting:
            one.close()
    assert actual.code == "timeout"


# Packed bodies


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "GZIP"])
def test_unrequested_compression_is_decompressed(get: Get, web: Web, encoding: str) -> None:
    data = zlib.compress(b"picture") if encoding == "deflate" else gzip.compress(b"picture")
    assert body(get(web.serve("/a", data, Content_Encoding=encoding))) == b"picture"
    assert web.headers[0]["Accept-Encoding"] == "identity"


def test_a_compression_bomb_is_rejected_early(get: Get, web: Web) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    actual = refused(get(web.serve("/a", bomb, Content_Encoding="gzip"), max_bytes=1_000_000))
    assert (actual.code, len(bomb) < 100_000) == ("too_large", True)
    assert (
        refused(get(web.serve("/b", gzip.compress(bytes(1001)), Content_Encoding="gzip"))).code == "too_large"
    )


def test_damaged_compressed_bodies(get: Get, web: Web) -> None:
    packed = gzip.compress(b"picture" * 10)
    cut = raw(web, "/cut", OK + b"Content-Encoding: gzip\r\n\r\n" + packed[:-9])
    junk = web.serve("/junk", b"junk", Content_Encoding="gzip")
    assert [refused(actual).code for actual in get.all([cut, junk])] == ["incomplete", "bad_response"]


@pytest.mark.parametrize(
    "encoding", ["", "identity", "none", "aws-chunked", "utf-8", "binary", "br", "zstd", "nonsense, , 7bit"]
)
def test_unknown_content_codings_are_ignored(get: Get, web: Web, encoding: str) -> None:
    assert body(get(web.serve("/a", b"picture", Content_Encoding=encoding))) == b"picture"


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress"])
def test_rules_with_an_unsupported_coding_allow_nothing(get: Get, web: Web, encoding: str) -> None:
    web.serve("/robots.txt", b"packed rules", Content_Encoding=encoding)
    actual = refused(get(web.serve("/a", b"x")))
    assert (actual.code, encoding in actual.detail) == ("robots_disallowed", True)


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


# 258 is the longest match of deflate: its output may be pending when all of the input is read
@pytest.mark.parametrize("length", [1, 7, 258, 65_535, 65_536, 65_537, 65_536 + 258, 300_000])
@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", raw_deflate), ("deflate", gzip.compress),
        ("gzip, gzip", lambda data: gzip.compress(gzip.compress(data))),
        ("aws-chunked, gzip", gzip.compress), ("deflate, gzip", lambda data: gzip.compress(zlib.compress(data))),
        ("gzip", lambda data: gzip.compress(data[:1]) + gzip.compress(data[1:])),
        ("gzip", lambda data: gzip.compress(data) + b"tail"), ("gzip", lambda data: gzip.compress(data) + b"\x1f"),
        ("gzip", lambda data: gzip.compress(data) + b"\x1f\x8b tail"),
        ("deflate", lambda data: zlib.compress(data) + b"tail"),
    ],
)  # fmt: skip
def test_variants_of_compression_are_decompressed(encoding: str, pack: Callable, length: int) -> None:
    data = bytes(length)
    for size in (1, 1000, 1 << 20) if length < 300 else (1000, 1 << 20):
        decompressor = Decompressor([word.strip() for word in encoding.split(",")], length + 100)
        packed = pack(data)
        pieces = [packed[i : i + size] for i in range(0, len(packed), size)]
        assert b"".join(step for piece in pieces for step in decompressor.decompress(piece)) == data
        assert decompressor.complete


def test_bytes_after_a_compressed_body_are_dropped() -> None:
    decompressor = Decompressor(["gzip"], 1000)
    tracemalloc.start()
    steps = list(decompressor.decompress(gzip.compress(b"picture")))
    for _ in range(300):
        steps += decompressor.decompress(bytes(64 << 10))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (steps, decompressor.satisfied) == ([b"picture"], True)
    assert most < 1_000_000


def test_an_endless_tail_is_not_awaited(get: Get, web: Web) -> None:
    packed = OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"picture")
    actual = get(raw(web, "/a", packed, *[b"tail" * 10] * 400, pause=0.05), deadline_seconds=5)
    assert body(actual) == b"picture"
    assert actual.stats is not None
    assert actual.stats.bytes_seen < 200


@pytest.mark.parametrize("codings", [["gzip", "gzip"], ["gzip"] * 5])
def test_a_nested_compression_bomb_is_rejected_early(codings: list[str]) -> None:
    """A coding that gives nothing may still take all that the one around it unfolds to."""
    bomb = gzip.compress(b"", mtime=0)[:10] + b"\x00\x00\x00\xff\xff" * 400_000  # empty stored blocks
    for _ in codings[1:]:
        bomb = gzip.compress(bomb)
    decompressor = Decompressor(codings, 1_000_000)
    with pytest.raises(BodyTooLong):
        list(decompressor.decompress(bomb))


def test_a_thousand_gzip_members_are_accepted_and_a_million_are_not() -> None:
    member = gzip.compress(b"x")
    assert b"".join(Decompressor(["gzip"], 10_000).decompress(member * 1000)) == b"x" * 1000
    with pytest.raises(Rejected, match="bad_response"):
        list(Decompressor(["gzip"], 10_000_000).decompress(member * 100_000))


@pytest.mark.parametrize("size", [1, 12, 50, 1000])
def test_a_damaged_second_member_is_an_error_however_the_body_arrives(size: int) -> None:
    packed = gzip.compress(b"the first half, ") + gzip.compress(b"the second half")[:-1] + b"\xff"
    decompressor = Decompressor(["gzip"], 10_000)
    pieces = [packed[start : start + size] for start in range(0, len(packed), size)]
    with pytest.raises(zlib.error):
        b"".join(plain for piece in pieces for plain in decompressor.decompress(piece))


def test_six_nested_codings_are_rejected(get: Get, web: Web) -> None:
    actual = refused(get(web.serve("/a", b"x", Content_Encoding=", ".join(["gzip"] * 6))))
    assert (actual.code, "6 nested content codings" in actual.detail) == ("bad_response", True)


def test_a_full_disk_is_a_data_error(get: Get, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_module, "IN_MEMORY", 10)
    monkeypatch.setattr("tempfile.tempdir", "/dev/full/none")
    with pytest.raises(DataError, match=r"cannot write a temporary file.*free space there"):
        get(web.serve("/a", b"x" * 100))
