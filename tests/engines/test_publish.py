"""A build in a bucket is published to a local folder, with the digests of its shards."""

from pathlib import Path

import yaml

from pipeline import files
from pipeline.__main__ import main
from pipeline.verify.dataset import verify
from tests.pipeline.small_world import write_world


def test_a_build_in_a_bucket_is_published(emulator, tmp_path: Path):
    world = write_world(tmp_path / "set")
    config = yaml.safe_load(world.config.read_text())
    config["publication"] = {
        "authors": [{"name": "Ada Lovelace"}], "license": "CC0-1.0", "date": "2026-12-01", "url": "https://example.org/",
        "allow_licenses": ["cc-by", "unknown"],
    }  # fmt: skip
    config["noise"] = {"levels": [0.5], "colors": ["red"]}
    world.config.write_text(yaml.safe_dump(config))
    output = f"{emulator.bucket}/published/out"
    common = ["--config", str(world.config)]
    assert main(["build", *common, "--output", output, "--direct_num_workers=1"]) == 0
    assert main(["publish", output, *common, "--to", str(tmp_path / "published")]) == 0
    assert verify(str(tmp_path / "published")).problems == ()
    assert main(["publish", output, *common, "--to", f"{emulator.bucket}/published/again"]) == 0
    assert verify(f"{emulator.bucket}/published/again").problems == ()
    manifest = (tmp_path / "published" / "_manifest.json").read_text()
    assert files.read_text(f"{emulator.bucket}/published/again/_manifest.json") == manifest
