"""Odd replies of web servers, as bytes: replies that break the rules of HTTP, or only seem to.

Each has a body of BODY where it is one at all. `OURS` says what the project makes of it: None for the body, or a code.
benchmarks/odd_replies.py sends the same bytes to other clients.
"""

import gzip
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

BODY = b"\x89PNG\r\n\x1a\n the body \x00\xff\r\n\r\n of a picture"
_RAW = zlib.compressobj(wbits=-15)
_DEFLATED = _RAW.compress(BODY) + _RAW.flush()
_CHUNKS = b"a\r\n" + BODY[:10] + b"\r\n%x\r\n" % len(BODY[10:]) + BODY[10:] + b"\r\n"
_SIZE = b"Content-Length: %d" % len(BODY)


def reply(
    *lines: bytes, body: bytes = BODY, status: bytes = b"HTTP/1.1 200 OK", end: bytes = b"\r\n"
) -> bytes:
    """A reply of these header lines, and no others."""
    return end.join([status, *lines, b"", b""]) + body


def sized(*lines: bytes, body: bytes = BODY, **more: bytes) -> bytes:
    """A reply with a Content-Length behind these header lines."""
    return reply(*lines, b"Content-Length: %d" % len(body), body=body, **more)


def chunked(body: bytes, *lines: bytes) -> bytes:
    """A reply in chunks."""
    return reply(b"Transfer-Encoding: chunked", *lines, body=body)


REPLIES: dict[str, tuple[bytes, str | None]] = {
    # status lines
    "no reason phrase": (sized(status=b"HTTP/1.1 200"), None),
    "blank behind the status": (sized(status=b"HTTP/1.1 200 "), None),
    "two blanks in the status line": (sized(status=b"HTTP/1.1  200  OK"), None),
    "reason in Latin-1": (sized(status=b"HTTP/1.1 200 d\xe9j\xe0 vu"), None),
    "reason of 9,000 bytes": (sized(status=b"HTTP/1.1 200 " + b"very " * 1800), None),
    "HTTP/1.0": (sized(status=b"HTTP/1.0 200 OK"), None),
    "status 203": (sized(status=b"HTTP/1.1 203 Non-Authoritative Information"), None),
    "103 Early Hints before": (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + sized(), None),
    "100 Continue before": (b"HTTP/1.1 100 Continue\r\n\r\n" + sized(), None),
    "a blank line before": (b"\r\n" + sized(), None),
    "HTTP/0.9 (no headers)": (BODY, "bad_response"),
    "HTTP/2 as text": (sized(status=b"HTTP/2 200 OK"), "bad_response"),
    "ICY 200 OK": (sized(status=b"ICY 200 OK"), "bad_response"),
    "status of letters": (sized(status=b"HTTP/1.1 abc OK"), "bad_response"),
    "http in lower case": (sized(status=b"http/1.1 200 OK"), "bad_response"),
    "HTTP/1.2": (sized(status=b"HTTP/1.2 200 OK"), None),
    "a tab in the status line": (sized(status=b"HTTP/1.1 200\tOK"), None),
    "no blank behind the status": (sized(status=b"HTTP/1.1 200OK"), "bad_response"),
    "blank before the status line": (sized(status=b" HTTP/1.1 200 OK"), None),
    "status 299": (sized(status=b"HTTP/1.1 299 Odd"), None),
    # header lines
    "bare LF": (sized(end=b"\n"), None),
    "LF and CRLF mixed": (b"HTTP/1.1 200 OK\nX: 1\r\n" + _SIZE + b"\n\r\n" + BODY, None),
    "a header of 9,000 bytes": (sized(b"Content-Security-Policy: " + b"https://a.example " * 500), None),
    "a header of 60,000 bytes": (sized(b"Set-Cookie: a=" + b"b" * 60_000), None),
    "a header of 90,000 bytes": (sized(b"Set-Cookie: a=" + b"b" * 90_000), None),
    "90 headers": (sized(*(b"X-%d: %d" % (i, i) for i in range(90))), None),
    "150 headers": (sized(*(b"X-%d: %d" % (i, i) for i in range(150))), None),
    "1,500 headers": (sized(*(b"X-%d: %d" % (i, i) for i in range(1500))), None),
    "10,000 headers": (sized(*(b"X-%d: %d" % (i, i) for i in range(10_000))), "bad_response"),
    "400 kB of headers": (sized(*(b"X-%d: %s" % (i, b"x" * 990) for i in range(400))), "bad_response"),
    "blank in a name": (sized(b"Cache Status: HIT"), None),
    "blank behind a name": (sized(b"X-Cache : HIT"), None),
    "blank behind Content-Length": (reply(b"Content-Length : %d" % len(BODY)), None),
    "blank behind Transfer-Encoding": (reply(b"Transfer-Encoding : chunked", body=_CHUNKS + b"0\r\n\r\n"), None),
    "blank behind Content-Encoding": (sized(b"Content-Encoding : gzip", body=gzip.compress(BODY)), None),
    "blank before a name": (sized(b" X-Cache: HIT"), None),
    "folded header": (sized(b"X-Cache: HIT", b"  from edge"), None),
    "folded header, first": (sized(b"\tfrom edge"), None),
    "line without a colon": (sized(b"X-Cache HIT"), None),
    "line that begins with a colon": (sized(b": HIT"), None),
    "name in UTF-8": (sized("X-Größe: 1".encode()), None),
    "name with brackets": (sized(b"X(1)[2]{3}: <>"), None),
    "value in UTF-8": (sized('Content-Disposition: inline; filename="é.png"'.encode()), None),
    "value with control characters": (sized(b"X-A: \x01\x1b\x7f"), None),
    "value with a bare CR": (sized(b"X-A: b\rc"), None),
    "value with NUL": (sized(b"X-A: \x00"), "bad_response"),
    "empty value": (sized(b"Content-Type:", b"X-A:"), None),
    "no blank behind the colon": (sized(b"Content-Type:image/png"), None),
    "header twice": (sized(b"Content-Type: image/png", b"Content-Type: text/html"), None),
    "odd Content-Type": (sized(b"Content-Type: ;;=/; charset=nonsense"), None),
    "odd dates and cookies": (sized(b"Date: yesterday", b"Set-Cookie: ;;=\xff", b"Expires: -1"), None),
    # content codings
    "Content-Encoding aws-chunked": (sized(b"Content-Encoding: aws-chunked"), None),
    "Content-Encoding, empty": (sized(b"Content-Encoding:"), None),
    "Content-Encoding none": (sized(b"Content-Encoding: none"), None),
    "Content-Encoding identity": (sized(b"Content-Encoding: identity"), None),
    "Content-Encoding utf-8": (sized(b"Content-Encoding: utf-8"), None),
    "Content-Encoding binary": (sized(b"Content-Encoding: binary"), None),
    "Content-Encoding image/png": (sized(b"Content-Encoding: image/png"), None),
    "Content-Encoding br, not packed": (sized(b"Content-Encoding: br"), None),
    "gzip": (sized(b"Content-Encoding: gzip", body=gzip.compress(BODY)), None),
    "gzip of two members": (
        sized(b"Content-Encoding: gzip", body=gzip.compress(BODY[:9]) + gzip.compress(BODY[9:])), None
    ),
    "gzip and a tail": (sized(b"Content-Encoding: x-gzip", body=gzip.compress(BODY) + bytes(99)), None),
    "gzip twice": (sized(b"Content-Encoding: gzip, gzip", body=gzip.compress(gzip.compress(BODY))), None),
    "aws-chunked,gzip": (sized(b"Content-Encoding: aws-chunked,gzip", body=gzip.compress(BODY)), None),
    "deflate": (sized(b"Content-Encoding: deflate", body=zlib.compress(BODY)), None),
    "deflate without zlib's header": (sized(b"Content-Encoding: deflate", body=_DEFLATED), None),
    "gzip, not packed": (sized(b"Content-Encoding: gzip"), "bad_response"),
    "gzip without its end": (sized(b"Content-Encoding: gzip", body=gzip.compress(BODY)[:-9]), None),
    "gzip cut by the connection": (reply(b"Content-Encoding: gzip", body=gzip.compress(BODY)[:-9]), "incomplete"),
    "gzip and no body": (sized(b"Content-Encoding: gzip", body=b""), "empty"),
    # where the body ends
    "until the connection ends": (reply(), None),
    "Content-Length twice, the same": (sized(_SIZE), None),
    "Content-Length in a list": (reply(_SIZE + b", %d" % len(BODY)), None),
    "Content-Length with zeros": (reply(b"Content-Length: 000%d" % len(BODY)), None),
    "Content-Length, empty": (reply(b"Content-Length:"), None),
    "Content-Length of letters": (reply(b"Content-Length: ten"), "bad_response"),
    "Content-Length, negative": (reply(b"Content-Length: -1"), "bad_response"),
    "Content-Length, +45": (reply(b"Content-Length: +%d" % len(BODY)), "bad_response"),
    "Content-Length, 45.0": (reply(b"Content-Length: %d.0" % len(BODY)), "bad_response"),
    "Content-Length, 45 bytes": (reply(_SIZE + b" bytes"), "bad_response"),
    "Content-Length and tabs": (reply(b"Content-Length:\t%d\t " % len(BODY)), None),
    "Content-Length, two that differ": (sized(b"Content-Length: 3"), "bad_response"),
    "shorter than its Content-Length": (reply(b"Content-Length: 500"), "incomplete"),
    "longer than its Content-Length": (sized() + b"more", None),
    "Content-Length and chunks": (chunked(_CHUNKS + b"0\r\n\r\n", b"Content-Length: 3"), None),
    "chunks": (chunked(_CHUNKS + b"0\r\n\r\n"), None),
    "CHUNKED": (reply(b"Transfer-Encoding: Chunked", body=_CHUNKS + b"0\r\n\r\n"), None),
    "chunks in HTTP/1.0": (
        reply(b"Transfer-Encoding: chunked", body=_CHUNKS + b"0\r\n\r\n", status=b"HTTP/1.0 200 OK"), None
    ),
    "chunks with extensions": (chunked(_CHUNKS.replace(b"a\r\n", b'a;b="c d"\r\n', 1) + b"0;x\r\n\r\n"), None),
    "chunk sizes with zeros and blanks": (chunked(_CHUNKS.replace(b"a\r\n", b"000A  \r\n", 1) + b"000\r\n\r\n"), None),
    "chunks and a trailer": (chunked(_CHUNKS + b"0\r\nX-Sum: 1\r\n\r\n"), None),
    "chunks without the last line": (chunked(_CHUNKS + b"0\r\n"), None),
    "chunks without the last chunk": (chunked(_CHUNKS), "incomplete"),
    "chunks with bare LF": (chunked(_CHUNKS.replace(b"a\r\n", b"a\n", 1) + b"0\n\n"), None),
    "chunked twice": (chunked(_CHUNKS + b"0\r\n\r\n", b"Transfer-Encoding: chunked"), None),
    "chunked, chunked": (reply(b"Transfer-Encoding: chunked, chunked", body=_CHUNKS + b"0\r\n\r\n"), None),
    "chunked and blanks": (reply(b"Transfer-Encoding:  chunked \t", body=_CHUNKS + b"0\r\n\r\n"), None),
    "chunk extension of 9,000 bytes": (
        chunked(_CHUNKS.replace(b"a\r\n", b"a;" + b"b" * 9000 + b"\r\n", 1) + b"0\r\n\r\n"), None
    ),
    "chunk size 0xa": (chunked(_CHUNKS.replace(b"a\r\n", b"0xa\r\n", 1) + b"0\r\n\r\n"), None),
    "chunk size +a": (chunked(_CHUNKS.replace(b"a\r\n", b"+a\r\n", 1) + b"0\r\n\r\n"), "bad_response"),
    "bytes behind the last chunk": (chunked(_CHUNKS + b"0\r\n\r\nmore"), None),
    "chunk sizes of letters": (chunked(b"zz\r\n" + BODY), "bad_response"),
    "chunk longer than its size": (chunked(b"2\r\n" + BODY + b"\r\n0\r\n\r\n"), "bad_response"),
    "Transfer-Encoding identity": (sized(b"Transfer-Encoding: identity"), None),
    "Transfer-Encoding gzip, chunked": (
        reply(
            b"Transfer-Encoding: gzip, chunked",
            body=b"%x\r\n%s\r\n0\r\n\r\n" % (len(packed := gzip.compress(BODY)), packed),
        ), None
    ),
    # connections
    "Connection: keep-alive, closed": (sized(b"Connection: keep-alive"), None),
    "Connection of nonsense": (sized(b"Connection: \xff, , close;q=1"), None),
    "Upgrade that nobody asked for": (sized(b"Upgrade: h2,h2c", b"Connection: Upgrade"), None),
}  # fmt: skip


@contextmanager
def serving() -> Iterator[dict[str, str]]:
    """Serve each reply, and then close the connection; yields its URL by its name."""
    names = {f"/{number}": name for number, name in enumerate(REPLIES)}

    def answer(connection: socket.socket) -> None:
        with connection:
            asked = b""
            while b"\r\n\r\n" not in asked and (piece := connection.recv(65536)):
                asked += piece
            if not asked:
                return
            path = asked.split(b" ")[1].decode("latin-1")
            missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
            connection.sendall(REPLIES[names[path]][0] if path in names else missing)
            connection.shutdown(socket.SHUT_WR)
            time.sleep(0.05)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_quietly, args=(answer, connection), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield {name: address + path for path, name in names.items()}
        listener.shutdown(socket.SHUT_RDWR)


def _quietly(answer: Callable[[socket.socket], None], connection: socket.socket) -> None:
    with suppress(OSError):  # clients hang up as they like
        answer(connection)
