"""The trainer reads exactly what the pipeline writes, in both forms of a dataset."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from common.errors import DataError
from tests.pipeline.small_world import build
from training.data.shards import load


@pytest.fixture(scope="module")
def shared(world, tmp_path_factory):
    output = tmp_path_factory.mktemp("shared") / "out"
    assert build(world, output, "--set", "noise.colors=[red]", "--set", "shards.mode=shared") == 0
    return output / "dataset"


def test_the_trainer_sees_the_pixels_and_labels_of_the_table(built):
    loaded = load(built / "dataset" / "red-0.50")
    rows = [
        r
        for p in sorted((built / "dataset" / "red-0.50").glob("*.parquet"))
        for r in parquet.read_table(p).to_pylist()
    ]
    assert loaded.labels.tolist() == [row["label"] for row in rows]
    assert loaded.is_clean.tolist() == [row["is_clean"] for row in rows]
    picture = np.asarray(Image.open(io.BytesIO(rows[5]["image"]["bytes"])).convert("RGB"))
    assert (loaded.images.images[5].permute(1, 2, 0).numpy() == picture).all()


def test_a_shared_set_is_the_same_set(built, shared):
    for name in ("red-0.50", "test"):
        one, other = load(built / "dataset" / name), load(shared / name)
        assert torch.equal(one.images.images, other.images.images)
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.true_labels, other.true_labels)


def test_a_shared_set_without_its_pictures_is_refused(shared, tmp_path):
    import shutil

    shutil.copytree(shared / "red-0.50", tmp_path / "red-0.50")
    with pytest.raises(DataError, match="is missing; copy it"):
        load(tmp_path / "red-0.50")
