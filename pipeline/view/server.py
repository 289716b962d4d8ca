"""Read-only web server on 127.0.0.1 that refuses requests for other host names."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from page.render import content_security_policy, render
from pipeline import local_server
from pipeline.local_server import LOOPBACK, guard, listen, loopback_hosts, response_headers
from pipeline.report.images import StoredImages, media_type
from pipeline.report.sets import manifests
from pipeline.report.sheets import ImageFigure
from pipeline.report.tables import BuildTables
from pipeline.view.gallery import Gallery

CSP = content_security_policy(images="'self' data:", form="'self'")
FACTS = {
    "image_id": "id", "class_name": "class", "source": "source", "label": "label", "noise_type": "noise type", "true_class": "true class",
    "p_error": "P(verdict or label is wrong)",
    "probable_class": "probable class", "p_wrong": "P(not this class)", "replaced_image_id": "replaces", "verdict": "verdict", "votes": "votes", "confidence": "confidence",
    "fate": "kept or removed", "keeper_id": "keeper", "keeper_source": "source of the keeper", "distance_256": "differing bits (of 256)",
    "orientation": "orientation", "url": "URL", "method": "search method", "rank": "rank", "width": "width", "height": "height",
    "format": "format", "bytes_in": "bytes",
}  # fmt: skip


def serve(build: str, port: int, say: Callable[[str], None]) -> None:
    """Serve a build until interrupted, and pass the URL to `say`. Raises UsageError if the port is in use."""
    listener = listen(LOOPBACK, port)
    port = listener.getsockname()[1]
    app = application(build, port)
    say(f"http://{LOOPBACK}:{port}/")
    local_server.serve(app, listener)


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

    app = web.Application(middlewares=[guard(loopback_hosts(port), response_headers(CSP))])
    app.add_routes([web.get("/", page), web.get("/image", image)])
    return app


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
    for name in ("confidence", "p_wrong", "p_error"):
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
