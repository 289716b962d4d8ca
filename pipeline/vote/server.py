"""HTTP side of the voting page: the page, its JSON interface and images, for this machine or, with a token, for others."""

import asyncio
import hmac
import json
import secrets
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import lru_cache
from importlib import resources
from typing import Any

from aiohttp import web

from page.render import content_security_policy, render
from pipeline import local_server
from pipeline.local_server import (
    LOOPBACK,
    Handler,
    guard,
    listen,
    loopback_hosts,
    network_hosts,
    response_headers,
)
from pipeline.report.images import media_type
from pipeline.vote.build_images import BuildImages
from pipeline.vote.journal import JournalError
from pipeline.vote.load import LoadedVote
from pipeline.vote.service import Refusal, Reply

MAX_BODY = 4096  # bytes of a request
MAX_TEXT = 1000  # characters of one value
_CACHED_IMAGES = 512
_LINK_NEEDED = (
    "This page needs the complete link with its token; ask the person who started it for the link.\n"
)


def serve(loaded: LoadedVote, build: str, host: str | None, port: int, say: Callable[[str], None]) -> None:
    """Serve the page until interrupted, and pass its URL to `say`. Raises UsageError if the port is in use.

    host: address for other machines, which need the token in the URL; None: this machine only.
    """
    listener = listen(host or LOOPBACK, port)
    port = listener.getsockname()[1]
    token = None if host is None else secrets.token_urlsafe(24)
    app = application(loaded, BuildImages(build), host, port, token)
    name = f"[{host}]" if host and ":" in host else host or LOOPBACK
    if host in ("0.0.0.0", "::"):  # noqa: S104  the user asks for it
        name = socket.gethostname()
    say(f"http://{name}:{port}/" + (f"?token={token}" if token else ""))
    local_server.serve(app, listener)


def application(
    loaded: LoadedVote, images: BuildImages, host: str | None, port: int, token: str | None
) -> web.Application:
    """Return the web application; with a `token`, every request must have it."""
    style, script = (
        resources.files("pipeline.vote").joinpath("templates", name).read_text(encoding="utf-8")
        for name in ("vote.css", "vote.js")
    )
    csp = content_security_policy("'self' data:", "'self'", "'self'", style, script)
    html = render("pipeline.vote", "vote.html", csp, own_style=style, own_script=script)
    interface = _Interface(loaded, images)

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text=html, content_type="text/html")

    is_known = network_hosts(host, port) if host else loopback_hosts(port)
    middlewares = [guard(is_known, response_headers(csp))]
    if token:
        middlewares.append(_token_check(token, f"vote-{port}"))
    app = web.Application(middlewares=middlewares, client_max_size=MAX_BODY)
    app.add_routes([web.get("/", page), web.get("/image/{key}", interface.image)])
    app.add_routes([web.get("/api/progress", interface.progress)])
    app.add_routes([web.post(f"/api/{name}", handler) for name, handler in interface.posts().items()])
    app.on_cleanup.append(interface.close)
    return app


def _token_check(token: str, cookie: str) -> Any:
    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Accept the token in the URL of the page once, and from then on in a cookie."""
        given = request.query.get("token")
        if given is not None and request.path == "/" and _is_equal(given, token):
            response = web.Response(status=303, headers={"Location": "/"})
            response.set_cookie(cookie, token, httponly=True, samesite="Lax", path="/")
            return response
        if not _is_equal(request.cookies.get(cookie, ""), token):
            return web.Response(status=403, text=_LINK_NEEDED)
        return await handler(request)

    return check


def _is_equal(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), token.encode())


class _Interface:
    """Handlers of the JSON interface. One thread runs the service, another one reads images."""

    def __init__(self, loaded: LoadedVote, images: BuildImages) -> None:
        self._service = loaded.service
        self._classes = [asdict(info) for info in loaded.classes]
        self._votes, self._images = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self._read = lru_cache(_CACHED_IMAGES)(images.read)

    def posts(self) -> dict[str, Callable[[web.Request], Awaitable[web.Response]]]:
        """Return the handlers of requests that may change something, by name."""
        service = self._service

        def start(body: "_Body") -> Reply:
            return service.start(body.text("worker")) | {"classes": self._classes}

        def answer(body: "_Body") -> Reply:
            return service.answer(
                body.text("worker"), body.text("question"), body.text("answer"), body.text_or_none("seen_class"),
                body.number_or_none("milliseconds"), body.text("request"),
            )  # fmt: skip

        return {
            "start": self._post(start),
            "answer": self._post(answer),
            "undo": self._post(lambda body: service.undo(body.text("worker"), body.text("question"))),
            "skip": self._post(lambda body: service.skip(body.text("worker"), body.text("question"))),
            "skipped": self._post(lambda body: service.show_skipped(body.text("worker"))),
            "leave": self._post(lambda body: service.leave(body.text("worker"))),
        }

    def _post(self, function: Callable[["_Body"], Reply]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handler(request: web.Request) -> web.Response:
            try:
                body = await _read_body(request)
                return web.json_response(await self._run(lambda: function(body)))
            except Refusal as refusal:
                return web.json_response(refusal.body, status=refusal.status)
            except JournalError as error:
                return web.json_response({"error": f"Not saved: {error}."}, status=503)

        return handler

    async def _run(self, function: Callable[[], Reply]) -> Reply:
        return await asyncio.get_running_loop().run_in_executor(self._votes, function)

    async def progress(self, _request: web.Request) -> web.Response:
        """Return the progress of every class."""
        return web.json_response(await self._run(self._service.by_class))

    async def image(self, request: web.Request) -> web.Response:
        """Return an encoded image by its key."""
        key = request.match_info["key"]
        if len(key) != 16 or not all(digit in "0123456789abcdef" for digit in key):
            raise web.HTTPNotFound
        encoded = await asyncio.get_running_loop().run_in_executor(self._images, self._read, int(key, 16))
        if encoded is None:
            raise web.HTTPNotFound
        headers = {"Cache-Control": "private, max-age=3600"}
        return web.Response(body=encoded, content_type=media_type(encoded), headers=headers)

    async def close(self, _app: web.Application) -> None:
        """Wait until votes that are being stored are on disk."""
        self._votes.shutdown(wait=True)
        self._images.shutdown(wait=True, cancel_futures=True)


class _Body:
    """The values of a request."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def text(self, name: str) -> str:
        value = self._values.get(name)
        if not isinstance(value, str) or len(value) > MAX_TEXT or not _is_unicode(value):
            raise Refusal(400, f"{name} must be a text of at most {MAX_TEXT} characters.")
        return value

    def text_or_none(self, name: str) -> str | None:
        return None if self._values.get(name) is None else self.text(name)

    def number_or_none(self, name: str) -> float | None:
        value = self._values.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise Refusal(400, f"{name} must be a number.")
        return value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


async def _read_body(request: web.Request) -> _Body:
    """Return the JSON object of a request of our own page. Raises Refusal for all others, which prevents CSRF."""
    origin = request.headers.get("Origin", "").partition("://")[2]
    if origin != request.host or request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        raise Refusal(403, "Requests of other pages are refused.")
    if request.content_type != "application/json":
        raise Refusal(415, "The body must be application/json.")
    try:
        values = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "The body is not JSON.") from error
    if not isinstance(values, dict):
        raise Refusal(400, "The body must be a JSON object.")
    return _Body(values)
