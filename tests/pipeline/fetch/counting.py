"""A server on loopback that counts the requests to each host name: per second, in progress, and for policy files."""

import asyncio
import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.pipeline.fetch.conftest import Web

LATENCY = 0.02
POLICIES = (b"/robots.txt", b"/.well-known/tdmrep.json")


@dataclass
class Counts:
    """Numbers of requests, by host name."""

    times: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    now: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)
    policies: Counter[str] = field(default_factory=Counter)
    bodies: Counter[str] = field(default_factory=Counter)

    def clear(self) -> None:
        """Reset all counts."""
        for part in (self.times, self.now, self.most, self.policies, self.bodies):
            part.clear()

    def most_in_a_second(self, host: str) -> int:
        """The largest number of requests within any second."""
        times, first, most = sorted(self.times[host]), 0, 0
        for last, moment in enumerate(times):
            while times[first] <= moment - 1:
                first += 1
            most = max(most, last - first + 1)
        return most


class _Answers(asyncio.Protocol):
    def __init__(self, counts: Counts) -> None:
        self.counts, self.waiting = counts, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        *requests, self.waiting = (self.waiting + data).split(b"\r\n\r\n")
        for request in requests:
            path = request.split(b" ", 2)[1]
            (host,) = [line[6:] for line in request.split(b"\r\n") if line.lower().startswith(b"host: ")]
            name = host.decode().rpartition(":")[0]
            counts = self.counts
            counts.times[name].append(time.monotonic())
            counts.now[name] += 1
            counts.most[name] = max(counts.most[name], counts.now[name])
            (counts.policies if path in POLICIES else counts.bodies)[name] += 1
            port = host.rpartition(b":")[2]
            asyncio.get_running_loop().call_later(LATENCY, self._answer, name, path, port)

    def _answer(self, name: str, path: bytes, port: bytes) -> None:
        """Answer with a body; /to/HOST/PATH redirects to another host; there are no policy files."""
        self.counts.now[name] -= 1
        if path in POLICIES:
            answer = b"404 Not Found\r\nContent-Length: 0\r\n\r\n"
        elif path.startswith(b"/to/"):
            _, _, host, rest = path.split(b"/", 3)
            answer = b"302 Found\r\nLocation: http://%s:%s/%s\r\nContent-Length: 0\r\n\r\n" % (
                host,
                port,
                rest,
            )
        else:
            answer = b"200 OK\r\nContent-Length: 4\r\n\r\nbody"
        self.transport.write(b"HTTP/1.1 " + answer)  # type: ignore[attr-defined]


@contextmanager
def counting_server() -> Iterator[tuple[int, Counts]]:
    """Serve on all loopback addresses from a thread; yield the port and the counts."""
    counts, loop = Counts(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> asyncio.Server:
        return await loop.create_server(lambda: _Answers(counts), "0.0.0.0", 0, backlog=1024)

    server = asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield server.sockets[0].getsockname()[1], counts
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def write_world(folder: Path, urls: list[str], host_concurrency: int, rate: float) -> Path:
    """Write a list of URLs and a configuration with these limits; return the configuration's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "web.csv").write_text("class_name,url\n" + "".join(f"a,{url}\n" for url in urls))
    config = {
        "source": str(folder), "classes": ["a", "b"], "clean": [], "test": [], "web": ["web.csv"], "votes": [],
        "fetch": {"allow_private_hosts": True, "host_concurrency": host_concurrency, "host_requests_per_second": rate},
    }  # fmt: skip
    (folder / "build.yaml").write_text(json.dumps(config))
    return folder / "build.yaml"


def image_list(tmp_path: Path, web: Web, smooth: Callable, encoded: Callable, **fetch: object) -> Path:
    """Write a list of five images on a server, one of them with two ids, and a missing one; return the configuration."""
    urls = [web.serve(f"/{i}", encoded(smooth(i, 40, 40), "PNG")) for i in range(5)] + [web.url("/gone")]
    config = write_world(tmp_path / "lists", urls, 4, 0)
    lines = "".join(f"id-{i},a,{url}\n" for i, url in enumerate([*urls, urls[0]]))
    (config.parent / "web.csv").write_text("image_id,class_name,url\n" + lines)
    values = json.loads(config.read_text())
    values["fetch"] |= fetch
    values["ingest"] = {"size": 16, "format": "png", "max_rejected_share": 1}
    config.write_text(json.dumps(values))
    return config
