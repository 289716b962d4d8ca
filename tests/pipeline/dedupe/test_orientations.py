import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.config import DedupeConfig
from pipeline.dedupe.groups import find_duplicates
from pipeline.dedupe.leaks import find_leaks
from pipeline.dedupe.neighbors import HashPairs, distinct_hashes, near_pairs
from pipeline.dedupe.orientations import oriented_hashes, oriented_long_hashes
from pipeline.ingest.fingerprint import fingerprint
from schemas.duplicate import ORIENTATIONS, SEARCHED_ORIENTATIONS
from tests.pipeline.dedupe.samples import PILLOW_TRANSPOSES


@pytest.mark.parametrize("orientation", PILLOW_TRANSPOSES)
def test_oriented_hashes_approximate_the_hashes_of_oriented_images(orientation):
    rng = np.random.default_rng(0)
    blobs = [Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8)) for _ in range(20)]
    images = [blob.resize((60, 60), Image.Resampling.BICUBIC) for blob in blobs]
    prints = fingerprint(images)
    expected = fingerprint([image.transpose(PILLOW_TRANSPOSES[orientation]) for image in images])
    index = ORIENTATIONS.index(orientation)
    short = oriented_hashes(prints.short, prints.orientations)[:, index]
    # Resizing rounds to gray levels, which differ slightly between orientations.
    assert np.bitwise_count(short ^ expected.short).mean() < 0.5
    long = oriented_long_hashes(prints.long)[:, index]
    assert np.bitwise_count(long ^ expected.long).sum(axis=1).mean() < 16


def test_the_first_orientation_is_the_hash_itself():
    rng = np.random.default_rng(0)
    short, mirrored = rng.integers(0, 2**64, 5, np.uint64), rng.integers(0, 2**64, (5, 3), np.uint64)
    long = rng.integers(0, 256, (5, 32), np.uint8)
    assert (oriented_hashes(short, mirrored)[:, 0] == short).all()
    assert (oriented_long_hashes(long)[:, 0] == long).all()
    assert oriented_hashes(short, mirrored).shape == (5, len(ORIENTATIONS))
    for count in SEARCHED_ORIENTATIONS.values():
        assert (oriented_hashes(short, mirrored, count) == oriented_hashes(short, mirrored)[:, :count]).all()
        assert (oriented_long_hashes(long, count) == oriented_long_hashes(long)[:, :count]).all()


@pytest.mark.parametrize("orientation", PILLOW_TRANSPOSES)
def test_a_rotated_copy_is_removed_only_if_its_orientation_is_searched(orientation):
    rng = np.random.default_rng(1)
    blobs = [Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8)) for _ in range(8)]
    images = [blob.resize((60, 60), Image.Resampling.BICUBIC) for blob in blobs]
    images.append(images[3].transpose(PILLOW_TRANSPOSES[orientation]))
    prints = fingerprint(images)
    frame = pd.DataFrame(
        {"image_id": f"i{i}", "source": "web", "width": 60, "height": 60, "bytes_in": 9, "sha256": str(i)}
        | prints.columns(i) | {"sharpness": 1.0}
        for i in range(len(images))
    ).astype({"phash": np.uint64})  # fmt: skip
    for orientations, count in SEARCHED_ORIENTATIONS.items():
        is_searched = ORIENTATIONS.index(orientation) < count
        column = oriented_hashes(prints.short, prints.orientations, count)
        hashes, repeats = distinct_hashes(column.reshape(-1))
        near = HashPairs.join([near_pairs(hashes, 8), repeats])
        result = find_duplicates(frame, near, DedupeConfig(orientations=orientations))[0].to_pylist()
        assert [(row["image_id"], row["keeper_id"]) for row in result] == [("i8", "i3")] * is_searched
        is_test = np.arange(9) == 8
        leaks = find_leaks(prints, is_test, DedupeConfig(orientations=orientations))
        assert (leaks.a.tolist(), leaks.b.tolist()) == (([8], [3]) if is_searched else ([], []))
    assert result[0]["orientation"] == orientation
