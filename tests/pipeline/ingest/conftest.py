"""A real web server on the loopback, whose answers a test chooses path by path, and fetchers to meet it with."""

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.config import IngestConfig
from pipeline.ingest import web as web_module
from pipeline.ingest.fetch import Fetched, Fetcher
from pipeline.ingest.store import Store, begin_run
from pipeline.ingest.web import TDM_FILE
from pipeline.rejections import Rejected

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
            told = {name.replace("_", "-"): value for name, value in headers.items()}
            for name, value in {"Content-Length": str(len(body)), **told}.items():
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
                found.asked.append(self.path)
                found.headers.append(dict(self.headers))
            found.answers.get(self.path, lambda request: request.send_error(404))(self)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # clients hang up as they like

    server = Server(("127.0.0.1", 0), Handler)
    found = Web(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def smooth() -> Callable[[int, int, int], Image.Image]:
    """Pictures like photos: a few soft blobs, drawn from a seed, `width` × `height`."""

    def draw(seed: int, width: int, height: int) -> Image.Image:
        blobs = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8).astype(np.uint8)
        return Image.fromarray(blobs).resize((width, height), Image.Resampling.BICUBIC)

    return draw


Encode = Callable[..., bytes]
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")  # those that are accepted, as Pillow names them


@pytest.fixture
def encoded() -> Encode:
    """The bytes of a picture in a format of Pillow."""

    def encode(picture: Image.Image, kind: str, **options: object) -> bytes:
        buffer = io.BytesIO()
        picture.save(buffer, kind, **options)
        return buffer.getvalue()

    return encode


FETCHING = {
    "max_bytes": 1000,
    "timeout_seconds": 20,
    "deadline_seconds": 40,
    "host_per_second": 0,
    "host_fetches": 64,
    "contact": "test@example.org",
    "allow_private_hosts": True,
}
IMPATIENT = {"timeout_seconds": 0.4, "deadline_seconds": 0.8}
OK = b"HTTP/1.1 200 OK\r\n"


@dataclass
class Get:
    """Fetches from the web or below a folder, as the ingest job does; `store` outlives a fetch as it does a run."""

    base: Path
    folder: Path

    def __call__(
        self, url: str | None = None, path: str | None = None, retry: tuple[str, ...] = (), **config: object
    ) -> Fetched | Rejected:
        (result,) = self.all([url] if url else [], [path] if path else [], retry, **config)
        return result

    def all(
        self,
        urls: list[str] | list[str | None],
        paths: list[str] | list[str | None] = [],  # noqa: B006  never changed
        retry: tuple[str, ...] = (),
        **config: object,
    ) -> list[Fetched | Rejected]:
        """The results in the order of `urls` and `paths`."""
        chosen = IngestConfig(**(FETCHING | config))  # type: ignore[arg-type]
        fetcher = Fetcher(str(self.base), chosen)
        store = Store(str(self.folder), begin_run(str(self.folder)), [url for url in urls if url], chosen)
        places = [(url, None) for url in urls] + [(None, path) for path in paths]
        lines = [
            {"image_id": str(i), "url": url, "path": path, "sha256": None}
            for i, (url, path) in enumerate(places)
        ]
        try:
            found = {line["image_id"]: result for line, result in fetcher.fetch_all(lines, store, retry)}
        finally:
            store.close()
            fetcher.close()
        return [found[str(i)] for i in range(len(lines))]


@pytest.fixture
def get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Get:
    monkeypatch.setattr(web_module, "BACKOFF_SECONDS", 0.02)
    (tmp_path / "source" / "sub").mkdir(parents=True)
    return Get(tmp_path / "source", tmp_path / "fetched")


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
    from pipeline.ingest import guard

    real = guard.is_public
    monkeypatch.setattr(guard, "is_public", lambda address: address == "127.0.0.1" or real(address))


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
