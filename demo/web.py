"""A local web: serves pictures over HTTP as strangers' servers would, bad answers included."""

import contextlib
import mimetypes
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class WebResponse:
    """What the server answers at one path; `headers` come on top of the content type, which the name gives."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def serve(pages: Mapping[str, WebResponse]) -> Iterator[str]:
    """Serve pages by path (without a leading slash), and give the base URL, without a last slash.

    On 127.0.0.1, at a port that the system chooses; every request has a thread, connections are kept alive.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # headers and body go out at once; waiting costs 40 ms a picture

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path).lstrip("/")
            page = pages.get(path, WebResponse(b"not found", 404))
            content_type = mimetypes.guess_type(path)[0] or "application/octet-stream"
            headers = {"Content-Type": content_type, "Content-Length": str(len(page.body)), **page.headers}
            self.send_response(page.status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            # A client may hang up early: it has seen enough of a page that is too long.
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
    """Does not wait at its end for clients that keep their connections open."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
