from collections.abc import Callable

import imagehash
import numpy as np
import pytest
from PIL import Image

from pipeline.ingest.fingerprint import phash_64, phash_256, phash_bits

Draw = Callable[[int, int, int], Image.Image]


@pytest.fixture
def pictures(smooth: Draw) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    found = [smooth(seed, 32 + seed, 64 - seed) for seed in range(30)]
    found += [
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8).astype(np.uint8)) for _ in range(10)
    ]
    ramp = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    found += [Image.fromarray(ramp), Image.fromarray(ramp.T.copy()), Image.linear_gradient("L")]
    found += [
        Image.radial_gradient("L"),
        Image.radial_gradient("L").convert("RGBA"),
        Image.effect_noise((99, 7), 50),
    ]
    found += [
        Image.new("RGB", (size, 20), colour) for size in (8, 20, 400) for colour in ("black", "white", "#123")
    ]
    found += [Image.fromarray(np.indices((64, 64)).sum(axis=0).astype(np.uint8) % 2 * 255)]
    return found


@pytest.mark.parametrize("size", [8, 16])
def test_every_bit_is_that_of_imagehash(pictures: list[Image.Image], size: int) -> None:
    reference = np.stack([imagehash.phash(picture, hash_size=size).hash.reshape(-1) for picture in pictures])
    assert (phash_bits(pictures, size) == reference).all()


def test_the_numbers_are_those_that_imagehash_prints(pictures: list[Image.Image]) -> None:
    assert [f"{value:016x}" for value in phash_64(pictures).tolist()] == [
        str(imagehash.phash(p)) for p in pictures
    ]
    assert [row.tobytes().hex() for row in phash_256(pictures)] == [
        str(imagehash.phash(p, hash_size=16)) for p in pictures
    ]


def test_a_batch_equals_one_by_one(pictures: list[Image.Image]) -> None:
    assert phash_64(pictures).tolist() == [int(phash_64([picture])[0]) for picture in pictures]
    assert (phash_256(pictures) == np.concatenate([phash_256([picture]) for picture in pictures])).all()


def test_no_pictures_have_no_fingerprints() -> None:
    assert (phash_64([]).shape, phash_256([]).shape) == ((0,), (0, 32))


def test_types_are_those_of_the_image_table(pictures: list[Image.Image]) -> None:
    assert (phash_64(pictures).dtype, phash_256(pictures).dtype) == (np.uint64, np.uint8)
