"""Small synthetic sets, and a configuration that trains on them within a second."""

import hashlib
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from schemas.example import EXAMPLE, example_schema
from schemas.manifest import MANIFEST, Manifest, Shard
from training.config import AugmentConfig, NetworkConfig, OptimizerConfig, TrainConfig
from training.data.shards import ImageSet, load_pair
from training.method_config import DivideMixConfig

NAMES = ["circle", "square", "star"]


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def example(index: int, image: bytes, label: int, true_label: int | None, is_clean: bool) -> dict[str, Any]:
    return {
        "image": {"bytes": image, "path": None},
        "label": label,
        "is_clean": is_clean,
        "image_id": f"id-{index:05d}",
        "source": "clean",
        "true_label": true_label,
    }


def write_set(
    directory: Path, rows: list[dict[str, Any]], *, noise_level: float = 0.0, color: str | None = "blue",
    names: list[str] = NAMES, shards: int = 2,
) -> Path:  # fmt: skip
    """Write rows as a committed set of Parquet shards."""
    directory.mkdir(parents=True)
    written = []
    for number in range(shards):
        part = [{name: row.get(name) for name in EXAMPLE.schema.names} for row in rows[number::shards]]
        file = f"train-{number:05d}-of-{shards:05d}.parquet"
        pq.write_table(pa.Table.from_pylist(part, schema=example_schema(names)), directory / file)
        data = (directory / file).read_bytes()
        written.append(Shard(file, len(part), len(data), hashlib.sha256(data).hexdigest()))
    about = {
        "set_name": directory.name, "color": color, "noise_level": noise_level, "class_names": names, "trial": 0,
    }  # fmt: skip
    text = Manifest("example", len(rows), tuple(written), about).to_json()
    (directory / MANIFEST).write_text(text)
    return directory


def striped(count: int, noise_level: float, seed: int) -> list[dict[str, Any]]:
    """8×8 images in three easy classes (the bright color channel), with symmetric label noise."""
    rng = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        truth = index % 3
        pixels = rng.integers(0, 120, (8, 8, 3), dtype=np.uint8)
        pixels[..., truth] += 90
        wrong = index < round(noise_level * count)
        label = (truth + 1 + int(rng.integers(2))) % 3 if wrong else truth
        rows.append(example(index, png(pixels), label, truth, not wrong))
    return rows


@pytest.fixture(scope="session")
def unchanged_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with blue-0.40 (96 images), blue-0.00 and test, which tests only read."""
    data = tmp_path_factory.mktemp("unchanged") / "data"
    write_set(data / "blue-0.40", striped(96, 0.4, seed=1), noise_level=0.4)
    write_set(data / "blue-0.00", striped(96, 0.0, seed=1))
    write_set(data / "test", striped(60, 0.0, seed=2), color=None)
    return data


@pytest.fixture
def dataset(unchanged_dataset: Path, tmp_path: Path) -> Path:
    """A copy of the same folder, which a test may change."""
    return Path(shutil.copytree(unchanged_dataset, tmp_path / "data"))


@pytest.fixture
def sets(dataset: Path) -> tuple[ImageSet, ImageSet]:
    """The training set of 40 % flipped labels, and the test set."""
    return load_pair(dataset, "blue-0.40", "test")


@pytest.fixture
def tiny_config() -> Callable[..., TrainConfig]:
    """A configuration of four epochs, of three steps each."""

    def make(**changes: Any) -> TrainConfig:
        base: dict[str, Any] = {
            "epochs": 4,
            "batch_size": 32,
            "precision": "fp32",
            "average_decay": 0.9,
            "memorized_every": 2,
            "network": NetworkConfig("small_cnn", 4),
            "augment": AugmentConfig(crop_padding=1, flip=True),
            "optimizer": OptimizerConfig(learning_rate=0.05),
            "dividemix": DivideMixConfig(warmup_epochs=1),
        }
        return TrainConfig(**(base | changes))

    return make
