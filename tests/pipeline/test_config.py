from pathlib import Path

import pytest

from pipeline.config import PRESETS, IngestConfig, load_config

BUILD = "{source: ., classes: [ant, bee], clean: [c.csv], test: [t.csv], web: [w.csv], votes: [v.csv], ingest: %s}"


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_stands_for_its_values(tmp_path: Path, name: str) -> None:
    (tmp_path / "build.yaml").write_text(BUILD % f"{{preset: {name}}}")
    assert load_config(str(tmp_path / "build.yaml"), []).ingest == IngestConfig(**PRESETS[name])


def test_what_stands_beside_a_preset_changes_it(tmp_path: Path) -> None:
    (tmp_path / "build.yaml").write_text(BUILD % "{preset: tfds, quality: 95}")
    found = load_config(str(tmp_path / "build.yaml"), ["ingest.size=32"]).ingest
    assert (found.size, found.quality, found.resize, found.scaled_decoding) == (32, 95, "exact", False)
