"""The local server of the browser: reads alone, on 127.0.0.1 alone, and answers nobody who came by another name."""

import socket
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from common.errors import UsageError
from page.render import content_security_policy, render
from pipeline.report.images import StoredImages, kind
from pipeline.report.sets import manifests
from pipeline.report.sheets import ImageFigure
from pipeline.report.tables import BuildTables
from pipeline.view.gallery import Gallery

HOST = "127.0.0.1"
CSP = content_security_policy(images="'self' data:", form="'self'")
HEADERS = {
    "Content-Security-Policy": f"{CSP}; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
FACTS = {
    "image_id": "id", "class_name": "class", "source": "source", "label": "label", "true_class": "true class",
    "replaced_image_id": "takes the place of", "verdict": "verdict", "votes": "votes", "confidence": "confidence",
    "fate": "fate", "keeper_id": "stays for it", "keeper_source": "which is", "distance_256": "of 256 bits differ",
    "orientation": "orientation", "url": "URL", "method": "search by", "rank": "rank", "width": "width", "height": "height",
    "format": "format", "bytes_in": "bytes",
}  # fmt: skip


def serve(build: str, port: int, say: Callable[[str], None]) -> None:
    """Serve a build until interrupted; `say` is told the address. Raises UsageError if the port is taken."""
    try:
        listener = socket.create_server((HOST, port))
    except (OSError, OverflowError) as error:
        raise UsageError(f"--port {port}: {error}; give another one, or 0 for any that is free") from error
    port = listener.getsockname()[1]
    app = application(build, port)
    say(f"http://{HOST}:{port}/")
    web.run_app(app, sock=listener, print=lambda _: None, access_log=None)


def application(build: str, port: int) -> web.Application:
    """The server of a build at a port. Raises DataError if there is no build."""
    tables, pictures = BuildTables(build), StoredImages(build)
    gallery = Gallery(tables, tables.lists.classes, list(manifests(tables)))

    async def leaf(request: web.Request) -> web.Response:
        asked = {key: request.query[key] for key in request.query}
        return web.Response(text=leaf_page(build, gallery, asked), content_type="text/html")

    async def picture(request: web.Request) -> web.Response:
        at = request.query.get("at", "")
        if not (at.isascii() and at.isdigit() and len(at) < 19 and int(at) < pictures.count):
            raise web.HTTPNotFound
        encoded = pictures.read(int(at))
        return web.Response(body=encoded, content_type=kind(encoded))

    app = web.Application(middlewares=[_guard({f"{HOST}:{port}", f"localhost:{port}"})])
    app.add_routes([web.get("/", leaf), web.get("/picture", picture)])
    return app


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _guard(hosts: set[str]) -> Any:
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        """A name of another's that leads to this address (DNS rebinding) is refused; all answers get HEADERS."""
        if request.headers.getall("Host", []) not in [[host] for host in hosts]:
            response: web.StreamResponse = web.Response(status=421, text="This server has another name.\n")
        else:
            try:
                response = await handler(request)
            except web.HTTPException as error:
                response = web.Response(
                    status=error.status, text=f"{error.reason}\n", headers=_allowed(error)
                )
        response.headers.update(HEADERS)
        return response

    return guard


def _allowed(error: web.HTTPException) -> dict[str, str]:
    return {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}


def leaf_page(build: str, gallery: Gallery, asked: dict[str, str]) -> str:
    """The HTML of one page of pictures."""
    chosen = gallery.choose(asked)
    known = {name: asked[name] for name in (*gallery.choices, "id") if asked.get(name)}

    def address(page: int) -> str:
        return "?" + urlencode({**known, "page": page})

    return render(
        "pipeline.view", "view.html", CSP,
        build=build, choices=gallery.choices, asked=known, chosen=chosen, address=address,
        pictures=[_picture(row) for row in chosen.rows],
    )  # fmt: skip


def _picture(row: dict[str, Any]) -> ImageFigure:
    if row["yes"] is not None:
        row["votes"] = f"{row['yes']} yes, {row['no']} no, {row['unsure']} unsure"
    if row["confidence"] is not None:
        row["confidence"] = f"{row['confidence']:.2f}"
    facts = tuple((title, row.get(name)) for name, title in FACTS.items())
    fate = row["fate"] if row["fate"] != "kept" else None
    caption = [row["class_name"], row["label"] and f"{row['label']} label", row["verdict"], fate]
    return ImageFigure(
        row["image_id"],
        f"/picture?at={row['position']}",
        ", ".join(part for part in caption if part),
        facts,
        f"/picture?at={row['keeper_position']}" if row["keeper_position"] is not None else None,
        row["keeper_id"] or "",
    )
