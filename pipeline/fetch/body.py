"""Reads the body of an answer: a byte cap on what is sent and on what it unfolds to, and little of it in memory."""

import asyncio
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO

import aiohttp

from pipeline.rejections import Asked, Rejected

# A larger body goes through a temporary file: 64 of 20 MB would fill a worker's memory.
IN_MEMORY = 512 * 1024
UNPACK_STEP = 64 * 1024


class Transient(Rejected):
    """What may be gone a moment later; `wait` is what the server said about it, in seconds."""

    wait: float | None = None


async def read_body(response: aiohttp.ClientResponse, asked: Asked, limit: int) -> IO[bytes]:
    """The body, as it was before it was packed for the way; `limit` bounds both."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip", "deflate"):
        raise Rejected(
            "bad_response", f"{response.url}: content-encoding {encoding}, which was not asked for"
        )
    unpacker = None if encoding == "identity" else zlib.decompressobj(32 + zlib.MAX_WBITS)
    too_large = Rejected("too_large", f"{response.url}: more than {limit} bytes")
    if (response.content_length or 0) > limit:
        raise too_large
    body = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  its reader closes it
    try:
        with _told_of_its_end(response):
            while piece := await response.content.readany():
                asked.bytes_seen += len(piece)
                for plain in _unpacked(unpacker, piece) if unpacker else (piece,):
                    body.write(plain)
                    if max(body.tell(), asked.bytes_seen) > limit:
                        raise too_large
        if unpacker and not unpacker.eof:
            raise Transient("incomplete", f"{response.url}: the {encoding} stream ends early")
        body.seek(0)
        return body
    except BaseException:
        body.close()
        raise


@contextmanager
def _told_of_its_end(response: aiohttp.ClientResponse) -> Iterator[None]:
    """Let whoever waits for the body know that its connection is closed.

    After chunks that HTTP does not allow, the client (3.14) closes the connection and does not wake its reader.
    """
    connection = response.connection  # none where all has come already
    protocol = connection and connection.protocol
    closed = None if protocol is None else protocol.closed

    def wake(ended: asyncio.Future[None]) -> None:
        if not ended.cancelled():
            ended.exception()  # it is known: the client tells it to the reader
        if not response.content.is_eof() and response.content.exception() is None:
            response.content.set_exception(ValueError("the body breaks the rules of HTTP"))

    if closed is None:
        yield
        return
    closed.add_done_callback(wake)
    try:
        yield
    finally:
        closed.remove_done_callback(wake)


def _unpacked(unpacker: "zlib._Decompress", piece: bytes) -> Iterator[bytes]:
    """In steps, so that a bomb is seen before it has unfolded."""
    while piece:
        yield unpacker.decompress(piece, UNPACK_STEP)
        piece = unpacker.unconsumed_tail
