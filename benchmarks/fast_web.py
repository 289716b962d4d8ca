"""A web server for benchmarks: images from memory, after a latency, at little cost. Run by benchmarks/ingest.py."""

import argparse
import asyncio
import io
import json
import sys
from collections import Counter

import numpy as np
from PIL import Image

VARIETY = 200  # different images; a client cannot tell that the others repeat them


def photos(count: int, width: int, height: int) -> list[bytes]:
    """JPEGs that look and compress like photographs: soft shapes under grain."""
    result = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        soft = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8).astype(np.uint8))
        large = np.asarray(soft.resize((width, height), Image.Resampling.BICUBIC), np.float32)
        grain = rng.normal(0, 6, (height, width, 1))
        buffer = io.BytesIO()
        Image.fromarray(np.clip(large + grain, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
        result.append(buffer.getvalue())
    return result


class Answers(asyncio.Protocol):
    """HTTP/1.1 with keep-alive: /N.jpg is image N, /count returns the requests per path; other paths give 404."""

    def __init__(self, bodies: list[bytes], latency: float, counter: Counter[str]) -> None:
        self.bodies, self.latency, self.counter = bodies, latency, counter
        self.waiting = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        *requests, self.waiting = (self.waiting + data).split(b"\r\n\r\n")
        for request in requests:
            path = request.split(b" ", 2)[1]
            if path == b"/count":
                self.transport.write(_answer(json.dumps(self.counter).encode()))
            elif path in (b"/robots.txt", b"/.well-known/tdmrep.json"):
                self.transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            else:
                self.counter[path.decode()] += 1
                body = self.bodies[int(path[1:].partition(b".")[0]) % len(self.bodies)]
                asyncio.get_running_loop().call_later(self.latency, self.transport.write, _answer(body))


def _answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


async def main() -> None:
    """Serve until killed; the first line of the output is the port."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=500)
    parser.add_argument("--height", type=int, default=375)
    parser.add_argument("--latency", type=float, default=0.005)
    arguments = parser.parse_args()
    bodies, counter = photos(VARIETY, arguments.width, arguments.height), Counter[str]()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Answers(bodies, arguments.latency, counter), "127.0.0.1", 0, backlog=1024
    )
    print(server.sockets[0].getsockname()[1], sum(map(len, bodies)) // len(bodies), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
