"""The real `datasets` library opens what we write, and shows images and class names by itself."""

import io
import json
import re
import shutil

import pytest

from pipeline.__main__ import main
from tests.pipeline.small_world import CLASSES, build, picture

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_a_level_opens_with_pictures_and_class_names(built, tmp_path):
    files = str(built / "dataset" / "red-0.20" / "train-*.parquet")
    loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path))
    assert loaded.features["label"].names == list(CLASSES)
    assert isinstance(loaded.features["image"], datasets.Image)
    manifest = json.loads((built / "dataset" / "red-0.20" / "_manifest.json").read_text())
    assert loaded.num_rows == manifest["rows"]
    example = next(row for row in loaded if row["source"] == "clean")
    assert example["image"].size == (32, 32)
    # The very pixels that went in, through our normalization and back out of another library.
    from pipeline.ingest.decode import decode
    from pipeline.ingest.normalize import normalize
    from pipeline.ingest_config import IngestConfig

    config, file = IngestConfig(size=32), io.BytesIO()
    picture(example["image_id"]).save(file, "PNG")
    expected = normalize(decode(file.getvalue(), config), config).convert("RGB")
    assert example["image"].convert("RGB").tobytes() == expected.tobytes()


def test_the_card_names_every_set_so_that_the_folder_opens_by_name(built, tmp_path):
    loaded = datasets.load_dataset(str(built / "dataset"), "blue-0.50", cache_dir=str(tmp_path))
    assert set(loaded) == {"train", "test"}
    noisy = sum(not clean for clean in loaded["train"]["is_clean"])
    assert noisy == round(0.5 * loaded["train"].num_rows)


def test_a_dataset_that_was_built_again_opens_as_it_is_now(world, built, tmp_path):
    """`load_dataset` caches by the name of the folder, which all builds share, and by the header of the card."""
    output = tmp_path / "out"
    shutil.copytree(built, output)

    def wrong() -> list[str]:
        loaded = datasets.load_dataset(str(output / "dataset"), "red-0.50", split="train")
        return sorted(row["image_id"] for row in loaded.remove_columns("image") if not row["is_clean"])

    before = wrong()
    again = ["split", "--config", str(world.config), "--output", str(output), "--set", "seed=1"]
    assert main([*again, "--direct_num_workers=1"]) == 0
    assert len(wrong()) == len(before)
    assert wrong() != before


def test_the_folder_of_a_set_opens_without_the_card(built, tmp_path):
    loaded = datasets.load_dataset(str(built / "dataset" / "red-0.50"), cache_dir=str(tmp_path))
    assert loaded["train"].num_rows == 60
    assert loaded["train"].features["label"].names == list(CLASSES)


@pytest.fixture(scope="module")
def shared(world, tmp_path_factory):
    output = tmp_path_factory.mktemp("shared") / "out"
    assert build(world, output, "--set", "shards.mode=shared", "--set", "noise.levels=[0.5]") == 0
    return output / "dataset"


def test_the_images_of_a_shared_dataset_are_a_config_that_its_card_joins(shared, tmp_path):
    card = (shared / "README.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    seen: dict = {"datasets": datasets, "FOLDER": str(shared), "SET": "red-0.50"}
    exec(code, seen)
    assert isinstance(seen["images"].features["image"], datasets.Image)
    assert seen["image"].size == (32, 32)
    ids = set(datasets.load_dataset(str(shared), "red-0.50", split="train")["image_id"])
    assert len(ids) == 60
    assert ids <= set(seen["rows"])
    assert not [line for line in card.splitlines() if line.startswith("| images |")]
