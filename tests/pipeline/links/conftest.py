"""A site of images that a test changes between checks, and the command that checks its URLs."""

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.__main__ import main
from pipeline.fetch import url_fetcher
from pipeline.links.ledger import read_checks
from tests.pipeline.fetch.conftest import Request, Web, web  # noqa: F401  a fixture
from tests.pipeline.small_world import picture, write_csv


def png(name: str) -> bytes:
    """A picture like no other, as PNG."""
    stream = io.BytesIO()
    image: Image.Image = picture(name)
    image.save(stream, "PNG")
    return stream.getvalue()


@dataclass
class Site:
    """Images on a local web server, a list of them with digests, and a ledger."""

    web: Web
    folder: Path

    @property
    def list(self) -> Path:
        return self.folder / "published.csv"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger"

    def publish(self, classes: dict[str, str], digests: bool = True) -> dict[str, str]:
        """Serve an image for each name, write the list, and return the URLs by name."""
        urls = {name: self.web.serve(f"/{name}.png", png(name)) for name in classes}
        rows: list[dict[str, object]] = [
            {
                "image_id": f"id-{name}",
                "class_name": class_name,
                "url": urls[name],
                "sha256": hashlib.sha256(png(name)).hexdigest() if digests else "",
            }
            for name, class_name in classes.items()
        ]
        write_csv(self.list, rows)
        return urls

    def with_etag(self, name: str, etag: str, body: bytes) -> str:
        """Serve bytes under an ETag, and answer 304 if a request knows it."""

        def answer(request: Request) -> None:
            known = request.headers.get("If-None-Match") == etag
            request.send_response(304 if known else 200)
            request.send_header("ETag", etag)
            request.send_header("Content-Length", "0" if known else str(len(body)))
            request.end_headers()
            if not known:
                request.wfile.write(body)

        return self.web.raw(f"/{name}.png", answer)

    def rows(self, check: int = -1) -> dict[str, dict[str, Any]]:
        """The rows of a check by the last part of the URL, without its ending."""
        rows = read_checks(str(self.ledger)).to_pylist()
        start = sorted({row["started_at"] for row in rows})[check]
        found = [row for row in rows if row["started_at"] == start]
        return {row["url"].rpartition("/")[2].removesuffix(".png"): row for row in found}

    def outcomes(self, check: int = -1) -> dict[str, str]:
        return {name: row["outcome"] for name, row in self.rows(check).items()}


@pytest.fixture
def site(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:  # noqa: F811
    monkeypatch.setattr(url_fetcher, "BACKOFF_SECONDS", 0.02)
    (tmp_path / "build.yaml").write_text(
        "{source: ., classes: [ant, bee], clean: [], test: [], web: [], votes: [], fetch: {contact: test@example.org, allow_private_hosts: true, "
        "host_requests_per_second: 0}}"
    )
    return Site(web, tmp_path)


Check = Callable[..., dict[str, Any]]


@pytest.fixture
def check(site: Site, capsys: pytest.CaptureFixture[str]) -> Check:
    """A function that checks the list of the site, with more flags, and returns the printed JSON."""

    def run(*flags: str, source: Path | None = None) -> dict[str, Any]:
        config = ["--config", str(site.folder / "build.yaml")]
        ledger = ["--ledger", str(site.ledger)]
        capsys.readouterr()
        assert main(["check-links", str(source or site.list), *config, *ledger, "--json", *flags]) == 0
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return run
