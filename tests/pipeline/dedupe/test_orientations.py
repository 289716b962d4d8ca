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
from schemas.duplicate import ORIENTATIONS

BY_PILLOW = {
    "mirrored": Image.Transpose.FLIP_LEFT_RIGHT,
    "flipped": Image.Transpose.FLIP_TOP_BOTTOM,
    "rotated 180°": Image.Transpose.ROTATE_180,
    "transposed": Image.Transpose.TRANSPOSE,
    "rotated 90°": Image.Transpose.ROTATE_90,
    "transverse": Image.Transpose.TRANSVERSE,
}


@pytest.mark.parametrize("orientation", BY_PILLOW)
def test_the_hash_of_a_turned_picture_is_made_from_that_of_the_picture(orientation):
    rng = np.random.default_rng(0)
    blobs = [Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8)) for _ in range(20)]
    pictures = [blob.resize((60, 60), Image.Resampling.BICUBIC) for blob in blobs]
    prints = fingerprint(pictures)
    really = fingerprint([picture.transpose(BY_PILLOW[orientation]) for picture in pictures])
    index = ORIENTATIONS.index(orientation)
    short = oriented_hashes(prints.short, prints.orientations)[:, index]
    # Shrinking rounds to whole gray levels, and not quite the same ones.
    assert np.bitwise_count(short ^ really.short).mean() < 0.5
    long = oriented_long_hashes(prints.long)[:, index]
    assert np.bitwise_count(long ^ really.long).sum(axis=1).mean() < 16


def test_what_is_not_turned_is_the_hash_itself():
    rng = np.random.default_rng(0)
    short, turned = rng.integers(0, 2**64, 5, np.uint64), rng.integers(0, 2**64, (5, 3), np.uint64)
    long = rng.integers(0, 256, (5, 32), np.uint8)
    assert (oriented_hashes(short, turned)[:, 0] == short).all()
    assert (oriented_long_hashes(long)[:, 0] == long).all()
    assert oriented_hashes(short, turned).shape == (5, len(ORIENTATIONS))


@pytest.mark.parametrize("orientation", BY_PILLOW)
def test_a_turned_copy_goes_if_turns_are_asked_for(orientation):
    rng = np.random.default_rng(1)
    blobs = [Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8)) for _ in range(8)]
    pictures = [blob.resize((60, 60), Image.Resampling.BICUBIC) for blob in blobs]
    pictures.append(pictures[3].transpose(BY_PILLOW[orientation]))
    prints = fingerprint(pictures)
    frame = pd.DataFrame(
        {"image_id": f"i{i}", "source": "web", "width": 60, "height": 60, "bytes_in": 9, "sha256": str(i)}
        | prints.columns(i) | {"sharpness": 1.0}
        for i in range(len(pictures))
    ).astype({"phash": np.uint64})  # fmt: skip
    for orientations in (False, True):
        column = (
            oriented_hashes(prints.short, prints.orientations).reshape(-1) if orientations else prints.short
        )
        hashes, repeats = distinct_hashes(column)
        near = HashPairs.join([near_pairs(hashes, 8), repeats])
        found = find_duplicates(frame, near, DedupeConfig(orientations=orientations))[0].to_pylist()
        assert [(row["image_id"], row["keeper_id"]) for row in found] == [("i8", "i3")] * orientations
        is_test = np.arange(9) == 8
        leaks = find_leaks(prints, is_test, DedupeConfig(orientations=orientations))
        assert (leaks.a.tolist(), leaks.b.tolist()) == (([8], [3]) if orientations else ([], []))
    assert found[0]["orientation"] == orientation
