import asyncio
import shutil
import socket
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import pyarrow.parquet as pq
import pytest
from aiohttp import web

from pipeline.__main__ import main
from pipeline.local_server import LOOPBACK as HOST
from pipeline.report.images import StoredImages
from pipeline.report.tables import BuildTables
from pipeline.shards import directory
from pipeline.view.gallery import PAGE, Gallery
from pipeline.view.server import application, gallery_html
from tests.pipeline.small_world import CLASSES, WEB

Ask = Callable[..., Coroutine[Any, Any, tuple[int, Any, bytes]]]


def served(build: Path, talk: Callable[[Ask, int], Coroutine[Any, Any, None]]) -> None:
    """Run the real server, and `talk` to it: ask(path, method, headers) gives status, headers and body."""

    async def run() -> None:
        listener = socket.create_server((HOST, 0))
        port = listener.getsockname()[1]
        runner = web.AppRunner(application(str(build), port))
        await runner.setup()
        await web.SockSite(runner, listener).start()
        async with aiohttp.ClientSession() as session:

            async def ask(path: str, method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
                async with session.request(method, f"http://{HOST}:{port}{path}", headers=headers) as answer:
                    return answer.status, answer.headers, await answer.read()

            await talk(ask, port)
        await runner.cleanup()

    with ThreadPoolExecutor(1) as thread:  # a browser of other tests may have its loop in this one
        thread.submit(lambda: asyncio.run(run())).result()


@pytest.fixture(scope="module")
def gallery(built: Path) -> Gallery:
    return Gallery(BuildTables(str(built)), CLASSES, ("red-0.50", "blue-0.50"))


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({}, 213),
        ({"class": "ant"}, 71),
        ({"source": "web", "class": "cow"}, WEB),
        ({"verdict": "undecided"}, 1),
        ({"fate": "leak"}, 1),
        ({"fate": "exact"}, 1),
        ({"set": "red-0.50"}, 60),
        ({"set": "red-0.50", "label": "wrong"}, 30),
        ({"set": "red-0.50", "label": "wrong", "class": "bee", "source": "web"}, 10),
        ({"set": "blue-0.50", "label": "wrong", "source": "clean"}, 30),
        ({"id": "web-ant-1"}, 11),
        ({"id": "%' OR true --"}, 0),
        ({"class": "no such class"}, 0),
        ({"nonsense": "x"}, 213),
    ],
)
def test_filters_select_images(gallery: Gallery, asked: dict[str, str], count: int) -> None:
    assert gallery.select(asked).count == count


def test_the_pages_contain_every_image_once_in_storage_order(gallery: Gallery) -> None:
    pages = [gallery.select({"page": str(number + 1)}) for number in range(-(-213 // PAGE))]
    positions = [row["position"] for one in pages for row in one.rows]
    assert positions == sorted(positions)
    assert len({row["image_id"] for one in pages for row in one.rows}) == 213
    for text in ("0", "-3", "nonsense", "١", "99999999999999999999"):
        assert gallery.select({"page": text}).page == 1
    assert gallery.select({"page": "777"}).page == 4


def test_a_near_duplicate_has_its_keeper(gallery: Gallery, built: Path) -> None:
    [row] = gallery.select({"fate": "leak"}).rows
    assert (row["image_id"], row["keeper_id"], row["keeper_source"]) == ("web-ant-0", "test-ant-0", "test")
    pictures = StoredImages(str(built))
    assert pictures.read(row["position"]) == pictures.read(row["keeper_position"])


def test_every_position_gives_the_stored_image(built: Path) -> None:
    folder = built / "ingest" / "images"
    stored = [
        row["image"]["bytes"]
        for shard in directory.read_manifest(str(folder)).shards
        for row in pq.read_table(folder / shard.file, columns=["image"]).to_pylist()
    ]
    pictures = StoredImages(str(built))
    assert [pictures.read(position) for position in range(pictures.count)] == stored
    for position in (-1, len(stored)):
        with pytest.raises(IndexError):
            pictures.read(position)


def test_pages_and_images_are_served_with_a_security_policy(built: Path) -> None:
    async def talk(ask: Ask, port: int) -> None:
        status, headers, body = await ask("/?class=ant&fate=leak")
        assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert "default-src 'none'; img-src 'self' data:;" in headers["Content-Security-Policy"]
        assert headers["Content-Security-Policy"].endswith("frame-ancestors 'none'")
        assert b"1 image<" in body
        status, headers, body = await ask("/image?position=0")
        assert (status, headers["Content-Type"], body[:4]) == (200, "image/png", b"\x89PNG")
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["X-Content-Type-Options"] == "nosniff"
        status, _, body = await ask("/?id=%3Cscript%3Ealert(1)%3C/script%3E%22")
        assert (status, body.count(b"<script>")) == (200, 1)
        assert (await ask("/", Host=f"localhost:{port}"))[0] == 200

    served(built, talk)


def test_a_build_that_changes_meanwhile_is_an_answer_without_a_traceback(
    built: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "out"
    shutil.copytree(built, copy)

    async def talk(ask: Ask, port: int) -> None:
        for path in (copy / "ingest" / "images").glob("*.parquet"):
            path.unlink()
        status, headers, body = await ask("/image?position=0")
        assert status == 503
        assert b"must be restarted" in body
        assert headers["Content-Security-Policy"]

    served(copy, talk)
    errors = capfd.readouterr().err
    assert "Traceback" not in errors
    assert "no such file" in errors


def test_verdicts_of_the_images_of_a_set_are_explained(gallery: Gallery) -> None:
    note = "The images of a set have no verdicts"
    assert note in gallery_html("out", gallery, {"set": "red-0.50", "verdict": "no"})
    assert note not in gallery_html("out", gallery, {"verdict": "no"})
    assert "<label>kept or removed" in gallery_html("out", gallery, {})


def test_other_requests_are_refused(built: Path) -> None:
    async def talk(ask: Ask, port: int) -> None:
        for host in (
            "evil.example",
            f"evil.example:{port}",
            f"127.0.0.1.evil.example:{port}",
            "127.0.0.1",
            "",
        ):
            status, _, body = await ask("/image?position=0", Host=host)
            assert (status, b"PNG" in body) == (421, False), host
        for path in ("/image", "/image?position=", "/image?position=-1", "/image?position=213", "/image?position=1e1", "/image?position=" + "9" * 30,
                     "/image?position=../../etc/passwd", "/etc/passwd", "/..%2f..%2fetc/passwd", "/image/0", "/static/page.js"):  # fmt: skip
            assert (await ask(path))[0] == 404, path
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            assert (await ask("/", method))[0] == 405

    served(built, talk)


def test_a_port_in_use_is_a_usage_error(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server((HOST, 0)) as taken:
        assert main(["view", str(built), "--port", str(taken.getsockname()[1])]) == 2
    assert "or 0 for any free port" in capsys.readouterr().err
    assert main(["view", str(built), "--port", "99999"]) == 2
