"""Read-only web server on 127.0.0.1 that refuses requests for other host names."""

import socket
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from common.errors import UsageError
from page.render import content_security_policy, render
from pipeline.report.images import StoredImages, media_type
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
    "image_id": "id", "class_name": "class", "source": "source", "label": "label", "noise_type": "noise type", "true_class": "true class",
    "p_wrong": "P(label is wrong)", "replaced_image_id": "replaces", "verdict": "verdict", "votes": "votes", "confidence": "confidence",
    "fate": "kept or removed", "keeper_id": "keeper", "keeper_source": "source of the keeper", "distance_256": "of 256 bits differ",
    "orientation": "orientation", "url": "URL", "method": "search method", "rank": "rank", "width": "width", "height": "height",
    "format": "format", "bytes_in": "bytes",
}  # fmt: skip


def serve(build: str, port: int, say: Callable[[str], None]) -> None:
    """Serve a build until interrupted, and pass the URL to `say`. Raises UsageError if the port is in use."""
    try:
        listener = socket.create_server((HOST, port))
    except (OSError, OverflowError) as error:
        raise UsageError(f"--port {port}: {error}; choose another port, or 0 for any free port") from error
    port = listener.getsockname()[1]
    app = application(build, port)
    say(f"http://{HOST}:{port}/")
    web.run_app(app, sock=listener, print=lambda _: None, access_log=None)


def application(build: str, port: int) -> web.Application:
    """Return the web application for a build and a port. Raises DataError if ingest has not finished."""
    tables, images = BuildTables(build), StoredImages(build)
    gallery = Gallery(tables, tables.lists.classes, list(manifests(tables)))

    async def page(request: web.Request) -> web.Response:
        parameters = {key: request.query[key] for key in request.query}
        return web.Response(text=gallery_html(build, gallery, parameters), content_type="text/html")

    async def image(request: web.Request) -> web.Response:
        position = request.query.get("position", "")
        valid = position.isascii() and position.isdigit() and len(position) < 19
        if not valid or int(position) >= images.count:
            raise web.HTTPNotFound
        encoded = images.read(int(position))
        return web.Response(body=encoded, content_type=media_type(encoded))

    app = web.Application(middlewares=[_guard({f"{HOST}:{port}", f"localhost:{port}"})])
    app.add_routes([web.get("/", page), web.get("/image", image)])
    return app


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _guard(hosts: set[str]) -> Any:
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse other host names, which prevents DNS rebinding, and add HEADERS to all responses."""
        if request.headers.getall("Host", []) not in [[host] for host in hosts]:
            response: web.StreamResponse = web.Response(status=421, text="Wrong host name.\n")
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


def gallery_html(build: str, gallery: Gallery, parameters: dict[str, str]) -> str:
    """Return the HTML of one page of images."""
    page = gallery.select(parameters)
    filters = {name: parameters[name] for name in (*gallery.choices, "id") if parameters.get(name)}

    def page_url(number: int) -> str:
        return "?" + urlencode({**filters, "page": number})

    return render(
        "pipeline.view", "view.html", CSP,
        build=build, choices=gallery.choices, filters=filters, page=page, page_url=page_url,
        figures=[_figure(row) for row in page.rows],
    )  # fmt: skip


def _figure(row: dict[str, Any]) -> ImageFigure:
    if row["yes"] is not None:
        row["votes"] = f"{row['yes']} yes, {row['no']} no, {row['unsure']} unsure"
    for name in ("confidence", "p_wrong"):
        if row[name] is not None:
            row[name] = f"{row[name]:.2f}"
    facts = tuple((title, row.get(name)) for name, title in FACTS.items())
    fate = row["fate"] if row["fate"] != "kept" else None
    caption = [row["class_name"], row["label"] and f"{row['label']} label", row["verdict"], fate]
    return ImageFigure(
        row["image_id"],
        f"/image?position={row['position']}",
        ", ".join(part for part in caption if part),
        facts,
        f"/image?position={row['keeper_position']}" if row["keeper_position"] is not None else None,
        row["keeper_id"] or "",
    )
