"""Fixtures: a web server on loopback with a response for each path, and a fetcher that runs one task."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline import files
from pipeline.config import FetchConfig
from pipeline.fetch import url_fetcher
from pipeline.fetch.fetch_task import LAST, WANTED, RunTerms, run_task
from pipeline.fetch.journal import next_run, read_journal
from pipeline.fetch.policies import TDM_FILE
from pipeline.rejections import Rejected, RequestStats

Request = BaseHTTPRequestHandler
Answer = Callable[[Request], None]


@dataclass
class Web:
    """Answers by path; a path without one is a 404."""

    address: str
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def url(self, path: str) -> str:
        return self.address + path

    def serve(self, path: str, body: bytes = b"", status: int = 200, **headers: str) -> str:
        """Answer `path` with these; returns its URL."""

        def answer(request: Request) -> None:
            request.send_response(status)
            reported = {name.replace("_", "-"): value for name, value in headers.items()}
            for name, value in {"Content-Length": str(len(body)), **reported}.items():
                request.send_header(name, value)
            request.end_headers()
            request.wfile.write(body)

        self.answers[path] = answer
        return self.url(path)

    def redirect(self, path: str, to: str, status: int = 302) -> str:
        return self.serve(path, status=status, Location=to)

    def raw(self, path: str, answer: Answer) -> str:
        """Answer `path` by writing to the connection; returns its URL."""
        self.answers[path] = answer
        return self.url(path)


@pytest.fixture
def web() -> Iterator[Web]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path not in ("/robots.txt", TDM_FILE):
                actual.asked.append(self.path)
                actual.headers.append(dict(self.headers))
            actual.answers.get(self.path, lambda request: request.send_error(404))(self)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128  # a full one costs a second

        def handle_error(self, *_: object) -> None:
            pass  # clients hang up as they like

    server = Server(("127.0.0.1", 0), Handler)
    actual = Web(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield actual
    server.shutdown()
    server.server_close()


FETCHING = {
    "timeout_seconds": 20,
    "deadline_seconds": 40,
    "host_requests_per_second": 0,
    "host_concurrency": 64,
    "contact": "test@example.org",
    "allow_private_hosts": True,
}
IMPATIENT = {"timeout_seconds": 0.4, "deadline_seconds": 0.8}
OK = b"HTTP/1.1 200 OK\r\n"


@dataclass(frozen=True)
class Fetched:
    """A body, and how it was had."""

    data: bytes
    sha256: str
    stats: RequestStats


@dataclass
class Get:
    """Fetches as one task of the fetch job does; `folder` holds the journals, and outlives a fetch."""

    folder: Path

    def __call__(
        self, url: str, retry: tuple[str, ...] = (), again: bool = False, **config: object
    ) -> Fetched | Rejected:
        (result,) = self.all([url], retry, again, **config)
        return result

    def all(
        self, urls: list[str], retry: tuple[str, ...] = (), again: bool = False, **config: object
    ) -> list[Fetched | Rejected]:
        """Return the results in the order of `urls`."""
        actual = {row["url"]: row for row in self.rows(urls, retry, again, **config).to_pylist()}
        return [self._result(actual[url]) for url in urls]

    def rows(
        self, urls: list[str], retry: tuple[str, ...] = (), again: bool = False, **config: object
    ) -> pa.Table:
        """Return the rows of the table `fetched`."""
        max_bytes = config.pop("max_bytes", 1000)
        assert isinstance(max_bytes, int)
        chosen = FetchConfig(**(FETCHING | config))  # type: ignore[arg-type]
        journals = sorted(files.names(str(self.folder), "*.jsonl"))
        terms = RunTerms(
            chosen,
            max_bytes,
            str(self.folder),
            next_run(journals),
            repr((chosen, max_bytes)),
            1,
            frozenset(retry),
            check_bodies=True,
        )
        wanted = pa.table([urls, [again] * len(urls)], schema=WANTED)
        known = [read_journal(str(self.folder), name) for name in journals]
        results = run_task((0, "", 0, 1), {"wanted": [wanted], "known": known}, terms, LAST, lambda _: None)
        assert not results.shares
        assert not results.redirects
        return pa.concat_tables(results.rows)

    def _result(self, row: dict[str, Any]) -> Fetched | Rejected:
        asked = RequestStats(row["host"], row["status"], row["bytes_seen"], row["seconds"], row["attempts"])
        if row["code"]:
            return Rejected(row["code"], row["detail"], asked)
        with (self.folder / row["body_file"]).open("rb") as file:
            file.seek(row["offset"])
            return Fetched(file.read(row["length"]), row["sha256"], asked)


@pytest.fixture
def get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Get:
    monkeypatch.setattr(url_fetcher, "BACKOFF_SECONDS", 0.02)
    return Get(tmp_path / "fetched")


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Name → its answers, one after the other, the last one for ever."""
    answers: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def resolve(host: "str | bytes", *rest: object, **more: object) -> list:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in answers:
            return real(name, *rest, **more)  # type: ignore[arg-type]
        address = answers[name].pop(0) if len(answers[name]) > 1 else answers[name][0]
        return real(address, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return answers


@pytest.fixture
def as_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loopback plays the public internet; the other private addresses stay private."""
    from pipeline.fetch import public_addresses

    real = public_addresses.is_public
    monkeypatch.setattr(
        public_addresses, "is_public", lambda address: address == "127.0.0.1" or real(address)
    )


def refused(result: Fetched | Rejected) -> Rejected:
    assert isinstance(result, Rejected), result
    return result


def body(result: Fetched | Rejected) -> bytes:
    assert isinstance(result, Fetched), result
    return result.data


def raw(web: Web, path: str, *pieces: bytes, pause: float = 0.0, hold: float = 0.0) -> str:
    """Answer `path` with these bytes, and close."""

    def answer(request: Request) -> None:
        for piece in pieces:
            request.wfile.write(piece)
            request.wfile.flush()
            time.sleep(pause)
        time.sleep(hold)
        request.close_connection = True

    return web.raw(path, answer)
