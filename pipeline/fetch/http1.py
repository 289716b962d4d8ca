"""Read HTTP/1 responses as browsers and curl do: lenient in form, strict about sizes and about where a body ends.

Source: RFC 9112, https://www.rfc-editor.org/rfc/rfc9112. Servers break its rules for header lines (blanks in or after
a name, lines that are not headers, bytes that are not ASCII, 9 kB of policies), and browsers accept that.
The end of a body is never guessed: a length or a chunk size that cannot be read is an error.
docs/results/odd-replies.md compares this reader with four clients.
"""

import asyncio
import re
from collections.abc import Iterable

MAX_HEAD_BYTES = 256 * 1024  # all header lines of a response and its interim responses; the limit of Chrome
MAX_FIELDS = 2000  # header lines of a response
MAX_LINE_BYTES = 16 * 1024  # one line between chunks
PIECE_BYTES = 64 * 1024
_STATUS = re.compile(rb"HTTP/(1\.[0-9])[ \t]+([1-9][0-9]{2})(?:[ \t].*)?", re.DOTALL)
_CHUNK = re.compile(rb"[ \t]*(?:0[xX])?0*([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)
_LENGTH = re.compile(r"0*([0-9]{1,18})")


class BadResponse(ValueError):
    """A response whose status, headers or body cannot be determined."""


class ConnectionEnded(ConnectionError):
    """The connection ended before the response did."""


class Reader:
    """Reads from a connection, with a limit in seconds for each wait."""

    def __init__(self, stream: asyncio.StreamReader, seconds: float) -> None:
        self._stream, self._seconds = stream, seconds
        self._buffer = bytearray()
        self.received = 0

    @property
    def buffered(self) -> int:
        """Number of bytes read ahead."""
        return len(self._buffer)

    async def wait(self, seconds: float) -> None:
        """Wait for bytes or the end of the connection. Raises TimeoutError, and OSError if the connection breaks."""
        await self._more(seconds)

    async def _more(self, seconds: float) -> bool:
        """Read ahead; False at the end of the connection. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            piece = await self._stream.read(PIECE_BYTES)
        self.received += len(piece)
        self._buffer += piece
        return bool(piece)

    async def line(self, limit: int) -> bytes:
        """Return the next line without its end. Raises ConnectionEnded, and BadResponse for a line longer than `limit`."""
        seen = 0
        while (end := self._buffer.find(b"\n", seen, limit)) < 0:
            seen = len(self._buffer)
            if seen >= limit:
                raise BadResponse(f"more than {limit} bytes of headers, or in a line")
            if not await self._more(self._seconds):
                raise ConnectionEnded("the connection ended within the headers")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.removesuffix(b"\r")

    async def some(self, most: int) -> bytes:
        """Return at least one and at most `most` bytes, or b"" at the end of the connection."""
        if not self._buffer and not await self._more(self._seconds):
            return b""
        piece = bytes(self._buffer[:most])
        del self._buffer[:most]
        return piece

    def starts_with(self, text: bytes) -> bool:
        """Whether the bytes read ahead start with `text`."""
        return self._buffer.startswith(text)

    def skip(self, count: int) -> None:
        """Drop bytes that were read ahead."""
        del self._buffer[:count]


class Headers:
    """Header fields. Names are case-insensitive; values are Latin-1, so that one character is one byte."""

    def __init__(self, fields: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in fields:
            self._values.setdefault(name.lower(), []).append(value)

    def get(self, name: str, default: str = "") -> str:
        """Return the first value of a field."""
        return self._values.get(name.lower(), [default])[0]

    def all(self, name: str) -> list[str]:
        """Return all values of a field, in order."""
        return self._values.get(name.lower(), [])

    def words(self, name: str) -> list[str]:
        """Return the comma-separated words of a field, in lower case."""
        words = (word.strip().lower() for value in self.all(name) for word in value.split(","))
        return [word for word in words if word]


class Response:
    """A response whose body is read piece by piece."""

    def __init__(self, reader: Reader, version: str, status: int, headers: Headers) -> None:
        self._reader, self.status, self.headers = reader, status, headers
        codings = headers.words("Transfer-Encoding")
        self.length = None if codings else _length(headers)
        self._chunked = "chunked" in codings
        self.transfer_codings = [word for word in codings if word != "chunked"]
        if status in (204, 304):
            self.length, self._chunked = 0, False
        self.framed = self._chunked or self.length is not None
        """Whether the response says where its body ends; otherwise the body ends with the connection."""
        self._left = self.length or 0  # bytes left of the chunk, or of the body
        self._first_chunk = True
        self._overhead = -MAX_HEAD_BYTES  # bytes of the lines between chunks minus bytes of the chunks
        self.ended = self.length == 0
        words = headers.words("Connection")
        self._persistent = "close" not in words and (version == "1.1" or "keep-alive" in words)

    async def piece(self) -> bytes:
        """Return the next bytes of the body, b"" after its end. Raises BadResponse, ConnectionEnded, TimeoutError."""
        if self.ended:
            return b""
        if self._chunked and not self._left and not await self._next_chunk():
            return b""
        piece = await self._reader.some(self._left if self.framed else PIECE_BYTES)
        if not self.framed:
            self.ended = not piece
            return piece
        if not piece:
            raise ConnectionEnded("the connection ended within the body")
        self._left -= len(piece)
        self.ended = not self._chunked and not self._left
        return piece

    async def _next_chunk(self) -> bool:
        if not self._first_chunk and await self._line():
            raise BadResponse("a chunk is longer than its declared size")
        self._first_chunk = False
        size = _CHUNK.fullmatch(line := await self._line())
        if size is None:
            raise BadResponse(f"invalid chunk size {line[:40]!r}")
        self._left = int(size[1], 16)
        self._overhead += len(line) + 2 - self._left
        if self._overhead > 0:  # chunks of one byte each cost much time
            raise BadResponse("more bytes between the chunks than in them")
        if not self._left:
            await self._trailer()
            self.ended = True
        return not self.ended

    async def _line(self) -> bytes:
        return await self._reader.line(MAX_LINE_BYTES)

    async def _trailer(self) -> None:
        """Skip the fields after the last chunk; some servers close the connection there, with the body complete."""
        left = MAX_HEAD_BYTES
        try:
            while line := await self._reader.line(left):
                left -= len(line) + 1
        except ConnectionEnded:
            self._persistent = False

    def reusable(self) -> bool:
        """Whether the connection can serve another request: the body was read to its end, and no bytes follow."""
        has_length = self.length is not None and not self._chunked
        if has_length and self._left <= self._reader.buffered:  # the unread page of a 404
            self._reader.skip(self._left)
            self._left, self.ended = 0, True
        return self._persistent and self.ended and self.framed and not self._reader.buffered


async def read_response(reader: Reader) -> Response:
    """Read the header lines of the response to a GET; interim responses (1xx) are skipped.

    Raises BadResponse, ConnectionEnded, TimeoutError.
    """
    left = MAX_HEAD_BYTES
    while True:
        first = await _status_line(reader, left)
        left -= len(first[0]) + 1
        lines: list[bytes] = []
        while line := await reader.line(left):
            left -= len(line) + 1
            lines.append(line)
            if len(lines) > MAX_FIELDS:
                raise BadResponse(f"more than {MAX_FIELDS} header lines")
        version, status = first[1].decode(), int(first[2])
        if status == 101:
            raise BadResponse("HTTP 101, which was not requested")
        if status >= 200:
            return Response(reader, version, status, Headers(_fields(lines)))


async def _status_line(reader: Reader, limit: int) -> re.Match[bytes]:
    """Read the status line; blank lines before it are skipped."""
    line = b""
    while not line.strip():
        limit -= len(line) + 1
        try:
            line = await reader.line(limit)
        except ConnectionEnded:
            if reader.buffered and not reader.starts_with(b"HTTP/"):
                raise BadResponse("no HTTP/1 status line") from None
            raise
    match = _STATUS.fullmatch(line.strip())
    if match is None:
        raise BadResponse(f"{line[:40]!r} is not an HTTP/1 status line")
    return match


def _fields(lines: list[bytes]) -> list[tuple[str, str]]:
    """Return name and value of each header line; lines without them are skipped.

    RFC 9112, section 5.1 lets proxies remove blanks between name and colon; section 5.2 lets user agents join a line that
    starts with a blank to the previous line.
    """
    fields: list[tuple[str, str]] = []
    for line in lines:
        if b"\0" in line:
            raise BadResponse("a header line contains a NUL")
        text = line.decode("latin-1")
        if text[0] in " \t":
            if fields:
                name, value = fields[-1]
                fields[-1] = name, f"{value} {text.strip()}".strip()
            continue
        name, colon, value = text.partition(":")
        if colon and name.strip():
            fields.append((name.strip(), value.strip()))
    return fields


def _length(headers: Headers) -> int | None:
    """Return the length of the body, or None if the body ends with the connection."""
    values = {word.strip() for value in headers.all("Content-Length") for word in value.split(",")}
    if not values or values == {""}:
        return None
    digits = _LENGTH.fullmatch(values.pop())
    if values or digits is None:
        raise BadResponse("the Content-Length is not a number, or several differ")
    return int(digits[1])
