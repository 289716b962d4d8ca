from dataclasses import asdict
from pathlib import Path

import pytest

from common.config import build, parse_overrides
from common.errors import UsageError
from pipeline.config import BuildConfig, DedupeConfig, load_config
from pipeline.ingest_config import PRESETS, IngestConfig

BUILD = "{source: ., classes: [ant, bee], clean: [c.csv], test: [t.csv], web: [w.csv], votes: [v.csv], ingest: %s}"


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_stands_for_its_values(tmp_path: Path, name: str) -> None:
    (tmp_path / "build.yaml").write_text(BUILD % f"{{preset: {name}}}")
    assert load_config(str(tmp_path / "build.yaml"), []).ingest == IngestConfig(**PRESETS[name])


def test_what_stands_beside_a_preset_changes_it(tmp_path: Path) -> None:
    (tmp_path / "build.yaml").write_text(BUILD % "{preset: tfds, quality: 95}")
    found = load_config(str(tmp_path / "build.yaml"), ["ingest.size=32"]).ingest
    assert (found.size, found.quality, found.resize, found.scaled_decoding) == (32, 95, "exact", False)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("ingest.preset=[tfds]", "is not one of tfds"),
        ("ingest.contact=a@example.org", r"ingest\.contact is now fetch\.contact; move it"),
        ("ingest.tries=2", r"ingest\.tries is now fetch\.max_attempts; move it"),
        (f"seed={2**63}", "64-bit"),
        (f"seed=-{10**60}", "64-bit"),
    ],
)
def test_invalid_values_are_reported(tmp_path: Path, value: str, told: str) -> None:
    (tmp_path / "build.yaml").write_text(BUILD % "{}")
    with pytest.raises(UsageError, match=told):
        load_config(str(tmp_path / "build.yaml"), [value])


def test_every_default_has_the_type_of_its_field(tmp_path: Path) -> None:
    (tmp_path / "build.yaml").write_text(BUILD % "{}")
    config = load_config(str(tmp_path / "build.yaml"), [])
    assert build(BuildConfig, asdict(config)) == config


@pytest.mark.parametrize(("old", "new"), [("true", "all"), ("false", "none")])
def test_the_former_values_of_orientations_name_the_new_ones(old, new):
    with pytest.raises(UsageError, match=f"orientations: {old} is now {new} "):
        build(DedupeConfig, parse_overrides([f"orientations={old}"]), "dedupe")
    assert build(DedupeConfig, parse_overrides(["orientations=mirrored"])).orientations == "mirrored"
