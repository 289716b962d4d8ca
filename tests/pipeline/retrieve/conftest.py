"""Fixtures: an HTTP server that answers like a provider and records the requests, and a search with it."""

import csv
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from pipeline.__main__ import main
from pipeline.fetch import retries
from tests.pipeline.fetch.test_connections import secure  # noqa: F401 – a fixture

Answer = tuple[int, dict[str, str], Any]  # status, headers, JSON or bytes


@dataclass
class Replay:
    """`answer` is called with the parameters of a request."""

    endpoint: str
    answer: Callable[[dict[str, str]], Answer] = lambda _: (404, {}, {})
    asked: list[dict[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def in_turn(self, *answers: Answer) -> None:
        """Give these answers one after another, and the last one for ever."""
        left = list(answers)
        self.answer = lambda _: left.pop(0) if len(left) > 1 else left[0]


@pytest.fixture
def replay() -> Iterator[Replay]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parameters = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
            result.asked.append(parameters)
            result.headers.append({name.lower(): value for name, value in self.headers.items()})
            status, headers, body = result.answer(parameters)
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            if status == 0:  # hang up
                return
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # the client may close a connection early

    server = Server(("127.0.0.1", 0), Handler)
    result = Replay(f"http://127.0.0.1:{server.server_port}/api")
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield result
    server.shutdown()
    server.server_close()


KEYS = {
    "GOOGLE_API_KEY": "AIza-very-secret",
    "GOOGLE_CSE_ID": "0123-engine",
    "OPENVERSE_TOKEN": "token-secret",
    "BRAVE_API_KEY": "BSA-very-secret",
    "FLICKR_API_KEY": "f11c-very-secret",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(retries.random, "uniform", lambda *_: 0.001)  # no test waits for a back-off


class Search:
    """The command, with an output in a folder of its own."""

    def __init__(self, replay: Replay, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.replay, self.folder, self.capsys = replay, folder, capsys
        self.output = folder / "list.csv"

    def __call__(
        self, provider: str, per_class: int, *more: str, classes: tuple[str, ...] = ("crane",)
    ) -> int:
        arguments = [
            "retrieve",
            "--provider",
            provider,
            "--per-class",
            str(per_class),
            "--output",
            str(self.output),
        ]
        arguments += [
            "--endpoint",
            self.replay.endpoint,
            "--pause",
            "0",
            "--contact",
            "me@lab.test",
            "--json",
        ]
        code = main([*arguments, *(["--classes", *classes] if classes else []), *more])
        self.told = self.capsys.readouterr()
        return code

    def rows(self) -> list[dict[str, str]]:
        with self.output.open(newline="") as file:
            return list(csv.DictReader(file))

    def counts(self) -> dict[str, Any]:
        return json.loads(self.told.out)


@pytest.fixture
def search(replay: Replay, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Search:
    return Search(replay, tmp_path, capsys)
