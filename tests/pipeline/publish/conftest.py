from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.__main__ import main
from tests.pipeline.small_world import World

STATEMENTS: dict[str, Any] = {
    "title": "Ants, bees & cows",
    "authors": [
        {"name": "Lovelace, Ada", "affiliation": "Example University", "orcid": "0000-0002-1825-0097"},
        {"name": "Example Laboratory", "kind": "organization"},
    ],
    "license": "CC-BY-4.0",
    "date": "2026-12-01",
    "url": "https://example.org/ants",
    "annotation_platform": "an example platform",
    "derived_from": ["https://example.org/photos", "a collection of drawings"],
    "collected_from": "2026-03-01",
    "collected_until": "2026-04-15",
    "image_licenses": {"clean": "cc-by", "test": "cc0", "web": "cc-by"},
}

Publish = Callable[..., int]


@pytest.fixture
def publish(world: World, built: Path, tmp_path: Path) -> Publish:
    """A function that publishes the small world to tmp_path/published, with changed statements and more flags."""

    def run(*flags: str, build: Path = built, to: str = "published", **statements: Any) -> int:
        config = yaml.safe_load(world.config.read_text())
        config["publication"] = {**STATEMENTS, **statements}
        path = tmp_path / "build.yaml"
        path.write_text(yaml.safe_dump(config))
        return main(["publish", str(build), "--config", str(path), "--to", str(tmp_path / to), *flags])

    return run


@pytest.fixture
def published(publish: Publish, tmp_path: Path) -> Path:
    """The folder of a publication that a test may change."""
    assert publish() == 0
    return tmp_path / "published"
