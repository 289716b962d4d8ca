import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.config import DedupeConfig
from pipeline.dedupe.groups import find_duplicates
from pipeline.dedupe.leaks import find_leaks
from pipeline.dedupe.neighbors import Near, distinct, near_pairs
from pipeline.dedupe.turns import turned_long, turned_short
from pipeline.ingest.fingerprint import fingerprint
from schemas.duplicate import TURNS

BY_PILLOW = {
    "mirrored": Image.Transpose.FLIP_LEFT_RIGHT,
    "flipped": Image.Transpose.FLIP_TOP_BOTTOM,
    "turned 180°": Image.Transpose.ROTATE_180,
    "transposed": Image.Transpose.TRANSPOSE,
    "turned 90°": Image.Transpose.ROTATE_90,
    "transverse": Image.Transpose.TRANSVERSE,
}


@pytest.mark.parametrize("turn", BY_PILLOW)
def test_the_hash_of_a_turned_picture_is_made_from_that_of_the_picture(turn):
    rng = np.random.default_rng(0)
    blobs = [Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8)) for _ in range(20)]
    pictures = [blob.resize((60, 60), Image.Resampling.BICUBIC) for blob in blobs]
    prints = fingerprint(pictures)
    really = fingerprint([picture.transpose(BY_PILLOW[turn]) for picture in pictures])
    index = TURNS.index(turn)
    short = turned_short(prints.short, prints.orientations)[:, index]
    # Shrinking rounds to whole gray levels, and not quite the same ones.
    assert np.bitwise_count(short ^ really.short).mean() < 0.5
    long = turned_long(prints.long)[:, index]
    assert np.bitwise_count(long ^ really.long).sum(axis=1).mean() < 16


def test_what_is_not_turned_is_the_hash_itself():
    rng = np.random.default_rng(0)
    short, turned = rng.integers(0, 2**64, 5, np.uint64), rng.integers(0, 2**64, (5, 3), np.uint64)
    long = rng.integers(0, 256, (5, 32), np.uint8)
    assert (turned_short(short, turned)[:, 0] == short).all()
    assert (turned_long(long)[:, 0] == long).all()
    assert turned_short(short, turned).shape == (5, len(TURNS))


@pytest.mark.parametrize("turn", BY_PILLOW)
def test_a_turned_copy_goes_if_turns_are_asked_for(turn):
    rng = np.random.default_rng(1)
    blobs = [Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8)) for _ in range(8)]
    pictures = [blob.resize((60, 60), Image.Resampling.BICUBIC) for blob in blobs]
    pictures.append(pictures[3].transpose(BY_PILLOW[turn]))
    prints = fingerprint(pictures)
    frame = pd.DataFrame(
        {"image_id": f"i{i}", "source": "web", "width": 60, "height": 60, "bytes_in": 9, "sha256": str(i)}
        | prints.columns(i) | {"sharpness": 1.0}
        for i in range(len(pictures))
    ).astype({"phash": np.uint64})  # fmt: skip
    for turns in (False, True):
        column = turned_short(prints.short, prints.orientations).reshape(-1) if turns else prints.short
        hashes, repeats = distinct(column)
        near = Near.join([near_pairs(hashes, 8), repeats])
        found = find_duplicates(frame, near, DedupeConfig(turns=turns))[0].to_pylist()
        assert [(row["image_id"], row["keeper_id"]) for row in found] == [("i8", "i3")] * turns
        is_test = np.arange(9) == 8
        leaks = find_leaks(prints, is_test, DedupeConfig(turns=turns))
        assert (leaks.a.tolist(), leaks.b.tolist()) == (([8], [3]) if turns else ([], []))
    assert found[0]["turn"] == turn
