"""Local web server for the images of the demo, including faulty responses."""

import contextlib
import mimetypes
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class WebResponse:
    """The response for one path; `headers` add to the content type, which is guessed from the path."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def serve(pages: Mapping[str, WebResponse]) -> Iterator[str]:
    """Serve responses by path (without a leading slash) on a free port of 127.0.0.1, and yield the base URL.

    Each connection has a thread and is kept alive. The base URL has no trailing slash.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # otherwise the body waits up to 40 ms after the headers

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path).lstrip("/")
            page = pages.get(path, WebResponse(b"not found", 404))
            content_type = mimetypes.guess_type(path)[0] or "application/octet-stream"
            headers = {"Content-Type": content_type, "Content-Length": str(len(page.body)), **page.headers}
            self.send_response(page.status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            # A client may close the connection early if the body is too long.
            with contextlib.suppress(ConnectionError):
                self.wfile.write(page.body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class Server(ThreadingHTTPServer):
    """HTTP server that does not wait for open connections when it closes."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
