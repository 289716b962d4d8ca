"""Read the body of an answer: bounded in what comes, in what it unpacks to, and in what is held in memory."""

import zlib
from collections.abc import Iterable, Iterator
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from pipeline.fetch.http1 import Response
from pipeline.rejections import Asked, Rejected
from schemas.errors import DataError

# A larger body goes through a temporary file: 64 of 20 MB would fill a worker's memory.
IN_MEMORY = 512 * 1024
UNPACK_STEP = 64 * 1024
MAX_CODINGS = 5  # one inside the other, as in curl and urllib3
_ZLIB = ("gzip", "x-gzip", "deflate")
# Registered codings that the standard library does not unpack (iana.org/assignments/http-parameters). Servers send
# these names over plain bytes, too; a picture's decoder sees the difference, a reader of rules does not.
UNREADABLE = frozenset({"br", "compress", "dcb", "dcz", "exi", "pack200-gzip", "x-compress", "zstd"})


class Transient(Rejected):
    """What may be gone a moment later; `wait` is what the server said about it, in seconds."""

    wait: float | None = None


class TooLong(Exception):
    """More bytes than the limit."""


async def read_body(response: Response, asked: Asked, limit: int, cut: bool = False) -> IO[bytes]:
    """Read a body, and unpack it where it was packed for the way; `limit` bounds the bytes before and after that.

    asked: is told how many bytes came. cut: return the first `limit` bytes of a longer body, instead of rejecting it.
    Raises Rejected `too_large`, `incomplete` or `bad_response`, DataError if the temporary file cannot be written, and
    what the response raises.
    """
    unpacker = Unpacker([*response.headers.words("Content-Encoding"), *response.transfer_codings], limit)
    if not cut and (response.length or 0) > limit:
        raise Rejected("too_large", f"more than {limit} bytes")
    body = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  its reader closes it
    try:
        try:
            while not unpacker.satisfied and (piece := await response.piece()):
                asked.bytes_seen += len(piece)
                for plain in unpacker.unpack(piece):
                    _write(body, plain)
                if asked.bytes_seen > limit:
                    raise TooLong
        except TooLong as error:
            if not cut:
                raise Rejected("too_large", f"more than {limit} bytes") from error
            body.truncate(min(limit, body.tell()))
        else:
            cut_off = not unpacker.complete and not (response.framed and body.tell())
            if (
                asked.bytes_seen and cut_off
            ):  # framed, it is all that the server has, and asking again gives no more
                raise Transient("incomplete", "the packed body ends early")
        body.seek(0)
        return body
    except BaseException:
        body.close()
        raise


def _write(body: IO[bytes], data: bytes) -> None:
    try:
        body.write(data)
    except OSError as error:  # not the server's fault, as other errors of the system are taken to be
        raise DataError(
            f"cannot write a temporary file: {error}; free space there, or set TMPDIR to another folder"
        ) from error


class Unpacker:
    """Undo the content codings of a body, given in the order of the header.

    Names of no coding (`aws-chunked`, `none`, `utf-8`) are passed over, as other clients do. No coding may give more
    than `limit` bytes: TooLong. What follows a packed stream and is none itself is dropped.
    """

    def __init__(self, codings: Iterable[str], limit: int) -> None:
        known = [coding for coding in codings if coding in _ZLIB]
        if len(known) > MAX_CODINGS:
            raise Rejected("bad_response", f"{len(known)} content codings, one inside the other")
        self._stages = [_Stage(coding == "deflate", limit) for coding in reversed(known)]

    @property
    def complete(self) -> bool:
        """Whether all packed streams have come to their end."""
        return all(stage.complete for stage in self._stages)

    @property
    def satisfied(self) -> bool:
        """Whether the packed stream has ended and something else has followed it, so that the rest cannot matter."""
        return any(stage.satisfied for stage in self._stages)

    def unpack(self, data: bytes, stage: int = 0) -> Iterator[bytes]:
        """Yield what the next bytes unpack to, in small steps, so that a bomb is noticed before it has unfolded."""
        if stage == len(self._stages):
            yield data
            return
        for step in self._stages[stage].unpack(data):
            yield from self.unpack(step, stage + 1)


class _Stage:
    """One coding: gzip, of one or several members (RFC 1952, section 2.2), or deflate, with or without zlib's header."""

    def __init__(self, deflate: bool, limit: int) -> None:
        self._deflate, self._left = deflate, limit
        self._unpacker: Any = None
        self._head = b""  # too few bytes to tell what they begin
        self.complete = self.satisfied = False

    def unpack(self, data: bytes) -> Iterator[bytes]:
        data = self._head + data
        self._head = b""
        while not self.satisfied:
            if self._unpacker is None:
                if len(data) < 2:
                    self._head = data
                    return
                self._begin(data[:2])
                continue
            plain = self._unpacker.decompress(data, UNPACK_STEP)
            data = self._unpacker.unconsumed_tail
            self._left -= len(plain)
            if self._left < 0:
                raise TooLong
            if plain:
                yield plain
            if self._unpacker.eof:
                data, self._unpacker, self.complete = self._unpacker.unused_data, None, True
            elif not data and len(plain) < UNPACK_STEP:
                return

    def _begin(self, head: bytes) -> None:
        """Begin a stream, or find that these bytes begin none."""
        gzip = head == b"\x1f\x8b"
        if self.complete and (self._deflate or not gzip):
            self.satisfied = True
            return
        zlib_header = head[0] & 15 == 8 and int.from_bytes(head, "big") % 31 == 0
        raw = self._deflate and not zlib_header and not gzip  # as some servers understand `deflate`
        self._unpacker = zlib.decompressobj(-zlib.MAX_WBITS if raw else 32 + zlib.MAX_WBITS)
        self.complete = False
