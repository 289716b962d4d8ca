"""HTTP/1 responses are read (pipeline/fetch/http1.py, body.py, response_headers.py, retries.py).

The first byte gives the size of the pieces in which the connection delivers the rest, the second one the limit of the body.
A response gives a body or one of the documented errors. A body has at most `limit` bytes. How the connection cuts the
bytes into pieces does not change the body. Kept headers are printable, and an ETag, a license and a wait are well formed.
"""

import asyncio
import gzip
import zlib
from collections.abc import Iterator
from functools import cache

from pipeline.fetch.body import read_body
from pipeline.fetch.http1 import PIECE_BYTES, BadResponse, ConnectionEnded, Reader, Response, read_response
from pipeline.fetch.response_headers import is_whole, kept_headers, strong_etag
from pipeline.fetch.retries import retry_after
from pipeline.fetch.urls import is_web_url, parse_url
from pipeline.rejections import Rejected, RequestStats
from tests.fuzz.inputs import check_rejection
from tests.pipeline.fetch.odd_replies import REPLIES

URL = parse_url("https://example.org/a.jpg")
LARGEST_LIMIT = 20_000
MAX_SEED = 2000
WORDS = (
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 206 \r\n", b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"\r\n\r\n", b"0\r\n",
    b"Content-Encoding: gzip\r\n", b"Content-Encoding: deflate\r\n", b"Content-Range: bytes 0-", b"ETag: ", b"Link: <",
    b">; rel=license", b"Retry-After: ", b"Connection: close\r\n", b"\x1f\x8b\x08", b"X-Robots-Tag: ",
)  # fmt: skip

Outcome = tuple[int, bytes] | type[Exception]


class Pieces(asyncio.StreamReader):
    """A connection that delivers bytes in pieces of one size."""

    def __init__(self, data: bytes, size: int) -> None:
        super().__init__()
        self._pieces = iter([data[start : start + size] for start in range(0, len(data), size)])

    async def read(self, n: int = -1) -> bytes:
        if (piece := next(self._pieces, b"")) or self.at_eof():
            self.feed_data(piece)
        else:
            self.feed_eof()
        return await super().read(n)


@cache
def runner() -> asyncio.Runner:
    return asyncio.Runner()


def seeds() -> Iterator[bytes]:
    """Yield the odd replies of the tests, and one whose second gzip member is damaged."""
    packed = gzip.compress(b"one", mtime=0) + gzip.compress(b"two", mtime=0)[:-1] + b"\xff"
    yield b"\x0b\xffHTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + packed
    for number, (reply, _) in enumerate(REPLIES.values()):
        if len(reply) <= MAX_SEED:
            yield bytes([number % 50 + 1, 255]) + reply


def check(data: bytes) -> None:
    """Read a response at once, and in pieces."""
    if len(data) < 2:
        return
    limit = 1 + data[1] * LARGEST_LIMIT // 255
    whole = runner().run(outcome(data[2:], PIECE_BYTES, limit))
    pieces = runner().run(outcome(data[2:], 1 + data[0], limit))
    if isinstance(whole, tuple) and isinstance(pieces, tuple):
        assert whole == pieces


async def outcome(data: bytes, size: int, limit: int) -> Outcome:
    """Return the status and the body of a response, or the type of its error."""
    reader = Reader(Pieces(data, size), seconds=60)
    try:
        response = await read_response(reader)
        check_headers(response)
        stats = RequestStats(URL.host)
        with await read_body(response, stats, limit) as file:
            body = file.read()
    except Rejected as rejected:
        check_rejection(rejected)
        return type(rejected)
    except (BadResponse, ConnectionEnded, zlib.error, EOFError) as error:
        return type(error)
    assert len(body) <= limit
    assert stats.bytes_seen <= len(data)
    assert isinstance(response.reusable(), bool)
    return response.status, body


def check_headers(response: Response) -> None:
    headers = response.headers
    assert 200 <= response.status <= 999
    assert isinstance(is_whole(response), bool)
    etag = strong_etag(headers)
    assert etag is None or (etag.isascii() and etag[0] == etag[-1] == '"')
    kept = kept_headers(URL, headers)
    assert all(value is None or value.isprintable() for value in kept.values())
    assert kept["license"] is None or is_web_url(kept["license"]) or len(kept["license"]) == 200  # shortened
    wait = retry_after(headers.get("Retry-After"))
    assert wait is None or wait >= 0
