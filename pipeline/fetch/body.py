"""Read the body of a response, with limits on received bytes, decompressed bytes, and memory."""

import zlib
from collections.abc import Iterable, Iterator
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from common.errors import DataError
from pipeline.fetch.http1 import Response
from pipeline.rejections import Rejected, RequestStats

# A larger body goes to a temporary file, since 64 bodies of 20 MB would fill the memory of a worker process.
IN_MEMORY = 512 * 1024
STEP_BYTES = 64 * 1024
MAX_MEMBERS = 1000  # of one gzip stream
MAX_CODINGS = 5  # nested, as in curl and urllib3
_ZLIB = ("gzip", "x-gzip", "deflate")
# Registered codings that the standard library does not decompress (iana.org/assignments/http-parameters). Some servers
# send these names with plain bytes. An image decoder notices if the bytes are compressed; a parser of rules does not.
UNREADABLE = frozenset({"br", "compress", "dcb", "dcz", "exi", "pack200-gzip", "x-compress", "zstd"})


class TemporaryRejection(Rejected):
    """A rejection that another attempt may avoid; `wait` is the wait in seconds that the server asks for."""

    wait: float | None = None


class BodyTooLong(Exception):
    """The body has more bytes than the limit."""


async def read_body(response: Response, stats: RequestStats, limit: int, cut: bool = False) -> IO[bytes]:
    """Read a body and decompress it; `limit` bounds the bytes before and after decompression.

    stats: receives the number of bytes. cut: return the first `limit` bytes of a longer body instead of rejecting it.
    Raises Rejected `too_large`, `incomplete` or `bad_response`, DataError if the temporary file cannot be written, and
    what the response raises.
    """
    decompressor = Decompressor(
        [*response.headers.words("Content-Encoding"), *response.transfer_codings], limit
    )
    if not cut and (response.length or 0) > limit:
        raise Rejected("too_large", f"more than {limit} bytes")
    body = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  the caller closes it
    try:
        try:
            while not decompressor.satisfied and (piece := await response.piece()):
                stats.bytes_seen += len(piece)
                for plain in decompressor.decompress(piece):
                    _write(body, plain)
                if stats.bytes_seen > limit:
                    raise BodyTooLong
        except BodyTooLong as error:
            if not cut:
                raise Rejected("too_large", f"more than {limit} bytes") from error
            body.truncate(min(limit, body.tell()))
        else:
            is_cut_off = not decompressor.complete and not (response.framed and body.tell())
            if stats.bytes_seen and is_cut_off:  # a framed body is complete
                raise TemporaryRejection("incomplete", "the compressed body ends early")
        body.seek(0)
        return body
    except BaseException:
        body.close()
        raise


def _write(body: IO[bytes], data: bytes) -> None:
    try:
        body.write(data)
    except OSError as error:  # unlike the other OSErrors here, a fault of this machine
        raise DataError(
            f"cannot write a temporary file: {error}; free space there, or set TMPDIR to another folder"
        ) from error


class Decompressor:
    """Undo the content codings of a body, given in the order of the header.

    Unknown names (`aws-chunked`, `none`, `utf-8`) are ignored, as other clients do. Bytes behind the end of a compressed
    stream are dropped. Raises BodyTooLong if one coding yields more than `limit` bytes.
    """

    def __init__(self, codings: Iterable[str], limit: int) -> None:
        known = [coding for coding in codings if coding in _ZLIB]
        if len(known) > MAX_CODINGS:
            raise Rejected(
                "bad_response", f"{len(known)} nested content codings; at most {MAX_CODINGS} are accepted"
            )
        self._stages = [_Stage(coding == "deflate", limit) for coding in reversed(known)]

    @property
    def complete(self) -> bool:
        """Whether all compressed streams are complete."""
        return all(stage.complete for stage in self._stages)

    @property
    def satisfied(self) -> bool:
        """Whether other bytes followed the end of a compressed stream, so that the rest of the body is irrelevant."""
        return any(stage.satisfied for stage in self._stages)

    def decompress(self, data: bytes, stage: int = 0) -> Iterator[bytes]:
        """Yield the decompressed bytes in small steps, so that a bomb is noticed early."""
        if stage == len(self._stages):
            yield data
            return
        for step in self._stages[stage].decompress(data):
            yield from self.decompress(step, stage + 1)


class _Stage:
    """One coding: gzip, of one or several members (RFC 1952, section 2.2), or deflate, with or without zlib's header."""

    def __init__(self, deflate: bool, limit: int) -> None:
        self._deflate, self._left = deflate, limit
        self._stream: Any = None
        self._members = 0
        self._head = b""  # the first bytes of a stream, until there are enough to recognize it
        self.complete = self.satisfied = False

    def decompress(self, data: bytes) -> Iterator[bytes]:
        data = self._head + data
        self._head = b""
        while not self.satisfied:
            if self._stream is None:
                # A tail may begin with the first two bytes of gzip, but hardly with the method (8), too.
                needed = 3 if self.complete else 2
                if len(data) < needed:
                    self._head = data
                    return
                self._start(data[:needed])
                continue
            plain, data = self._step(data)
            if plain:
                yield plain
            if self._stream is not None and not data and len(plain) < STEP_BYTES:
                return

    def _start(self, head: bytes) -> None:
        """Start a stream, unless one is complete and its next bytes, `head`, do not begin another member.

        What begins like a member is one: if its data are damaged, the bytes before the damage are no whole body.
        """
        is_gzip = head.startswith(b"\x1f\x8b")
        if self.complete and (self._deflate or head != b"\x1f\x8b\x08"):
            self.satisfied = True
            return
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise Rejected("bad_response", f"more than {MAX_MEMBERS} gzip members")
        has_zlib_header = head[0] & 15 == 8 and int.from_bytes(head[:2], "big") % 31 == 0
        # Some servers send deflate without zlib's header.
        is_raw = self._deflate and not has_zlib_header and not is_gzip
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS if is_raw else 32 + zlib.MAX_WBITS)
        self.complete = False

    def _step(self, data: bytes) -> tuple[bytes, bytes]:
        """Decompress at most STEP_BYTES; return them and the rest of the data."""
        plain = self._stream.decompress(data, STEP_BYTES)
        self._left -= len(plain)
        if self._left < 0:
            raise BodyTooLong
        if not self._stream.eof:
            return plain, self._stream.unconsumed_tail
        rest, self._stream, self.complete = self._stream.unused_data, None, True
        return plain, rest
