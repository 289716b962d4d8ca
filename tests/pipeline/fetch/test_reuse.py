"""Connections are reused, and a response never counts for another request."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from pipeline.fetch import connections
from tests.pipeline.fetch.conftest import OK, Get, body

Behavior = Callable[[socket.socket, bytes], bool]
"""Answers a request for a path; returns whether the connection stays open."""


@dataclass
class Server:
    """Speaks HTTP over connections that stay open; counts connections and requests."""

    address: str = ""
    behavior: Behavior = lambda *_: False
    connections: int = 0
    asked: list[bytes] = field(default_factory=list)

    def serve(self, connection: socket.socket) -> None:
        with connection:
            buffer = b""
            while True:
                while b"\r\n\r\n" not in buffer:
                    piece = connection.recv(65536)
                    if not piece:
                        return
                    buffer += piece
                request, _, buffer = buffer.partition(b"\r\n\r\n")
                path = request.split(b" ")[1]
                self.asked.append(path)
                if not self.behavior(connection, path):
                    return


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            made.connections += 1
            threading.Thread(target=quietly, args=(connection,), daemon=True).start()

    def quietly(connection: socket.socket) -> None:
        try:
            made.serve(connection)
        except OSError:
            return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        made.address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        threading.Thread(target=accept, daemon=True).start()
        yield made
        listener.shutdown(socket.SHUT_RDWR)


ONE_BY_ONE = {"host_concurrency": 1, "robots_txt": False, "opt_outs": False}


def sized(data: bytes, *lines: bytes) -> bytes:
    return b"".join(
        [OK, *(line + b"\r\n" for line in lines), b"Content-Length: %d\r\n\r\n" % len(data), data]
    )


def urls(server: Server, count: int = 10) -> list[str]:
    return [f"{server.address}/{i}" for i in range(count)]


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
ANSWERS: dict[str, tuple[Callable[[bytes], bytes], int]] = {
    "length": (lambda path: sized(path), 1),
    "chunks": (lambda path: CHUNKED % (len(path), path), 1),
    "HTTP/1.0 that keeps": (
        lambda path: sized(path, b"Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"),
        1,
    ),
    "close": (lambda path: sized(path, b"Connection: close"), 10),
    "HTTP/1.0": (lambda path: sized(path).replace(b"HTTP/1.1", b"HTTP/1.0"), 10),
    "two answers": (lambda path: sized(path) + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong", 10),
    "more than chunks": (lambda path: CHUNKED % (len(path), path) + b"more", 10),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_connection_is_reused_only_if_the_response_has_a_certain_end(
    get: Get, server: Server, kind: str
) -> None:
    answer, connections = ANSWERS[kind]

    def behave(connection: socket.socket, path: bytes) -> bool:
        connection.sendall(answer(path))
        return True

    server.behavior = behave
    actual = get.all(urls(server), **ONE_BY_ONE)
    assert [body(result) for result in actual] == [b"/%d" % i for i in range(10)]
    assert server.connections == connections


def test_unexpected_bytes_close_the_connection(get: Get, server: Server) -> None:
    """The second answer comes while the connection is unused."""

    def behave(connection: socket.socket, path: bytes) -> bool:
        connection.sendall(sized(path))
        time.sleep(0.05)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")
        return True

    server.behavior = behave
    actual = get.all(urls(server), host_requests_per_second=8, **ONE_BY_ONE)
    assert [body(result) for result in actual] == [b"/%d" % i for i in range(10)]
    assert server.connections == 10


def test_a_connection_closed_while_unused_costs_no_attempt(get: Get, server: Server) -> None:
    def behave(connection: socket.socket, path: bytes) -> bool:
        connection.sendall(sized(path))
        return False

    server.behavior = behave
    for config in ({}, {"host_requests_per_second": 20}):
        actual = get.all(urls(server), retry=("x",), again=True, max_attempts=1, **(ONE_BY_ONE | config))
        assert [body(result) for result in actual] == [b"/%d" % i for i in range(10)]
        assert all(result.stats.attempts == 1 for result in actual if result.stats)
    assert len(server.asked) == 20


def test_a_connection_without_a_second_response_is_replaced(get: Get, server: Server) -> None:
    """It reads the request, and closes: RFC 9112, section 9.3.1.1, has clients repeat it on a new connection."""
    first = threading.local()

    def behave(connection: socket.socket, path: bytes) -> bool:
        if getattr(first, "done", False):
            return False
        first.done = True
        connection.sendall(sized(path))
        return True

    server.behavior = behave
    actual = get.all(urls(server), max_attempts=1, **ONE_BY_ONE)
    assert [body(result) for result in actual] == [b"/%d" % i for i in range(10)]


def test_error_pages_keep_the_connection(get: Get, server: Server) -> None:
    def behave(connection: socket.socket, path: bytes) -> bool:
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 500\r\n\r\n" + bytes(500))
        return True

    server.behavior = behave
    get.all(urls(server), **ONE_BY_ONE)
    assert (server.connections, len(server.asked)) == (1, 10)


def test_unused_connections_are_closed_after_a_while(
    get: Get, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "IDLE_SECONDS", 0.05)

    def behave(connection: socket.socket, path: bytes) -> bool:
        connection.sendall(sized(path))
        return True

    server.behavior = behave
    get.all(urls(server, 4), host_requests_per_second=5, **ONE_BY_ONE)
    assert server.connections == 4
