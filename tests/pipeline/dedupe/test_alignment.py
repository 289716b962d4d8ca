"""Altered copies are aligned with their originals; other images are not taken for copies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageOps

from pipeline.dedupe import local_match
from pipeline.dedupe.alignment import align
from pipeline.dedupe.feature_neighbors import SCALE, nearest_tests, rounded_vectors
from pipeline.dedupe.local_match import match_image, matches
from tests.pipeline.dedupe.samples import photograph


def crop(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    width, height = image.size
    return image.crop(
        (round(left * width), round(top * height), round((1 - right) * width), round((1 - bottom) * height))
    )


def labeled(image: Image.Image) -> Image.Image:
    image = image.copy()
    draw = ImageDraw.Draw(image)
    draw.text(
        (10, image.height - 30),
        "example.org",
        fill="white",
        stroke_width=2,
        stroke_fill="black",
        font_size=22,
    )
    return image


ALTERED = {
    "crop 6 %": lambda p: crop(p, 0.06, 0, 0, 0.06),
    "crop 12 %": lambda p: crop(p, 0.02, 0.12, 0.1, 0),
    "border": lambda p: ImageOps.expand(p, 9, "white"),
    "text": labeled,
    "mirrored": ImageOps.mirror,
    "mirrored, cropped, text": lambda p: labeled(ImageOps.mirror(crop(p, 0.06, 0.06, 0.06, 0.06))),
}


@pytest.mark.parametrize("name", ALTERED)
def test_altered_copies_match_their_original(name):
    originals = [photograph(seed) for seed in range(8)]
    copies = np.stack([match_image(ALTERED[name](image)) for image in originals])
    found = matches(copies, np.stack([match_image(image) for image in originals]), mirrored=True)
    assert found.match.min() >= 0.75
    assert found.is_mirrored.all() == name.startswith("mirrored")


def test_other_images_do_not_match():
    levels = np.stack([match_image(photograph(seed)) for seed in range(12)])
    a, b = np.nonzero(~np.eye(12, dtype=bool))
    assert matches(levels[a], levels[b], mirrored=True).match.max() < 0.5


def test_a_crop_is_aligned_with_the_place_where_it_was_cut_out():
    originals = [photograph(seed) for seed in range(8)]
    copies = [crop(image, 0.02, 0.1, 0.08, 0) for image in originals]
    a, b = (np.stack([match_image(p) for p in some]).astype(np.float32) for some in (copies, originals))
    transform, correlation = align(a, b, 0.5)
    assert correlation.min() > 0.9
    # From −1 to 1: the crop's center is at (0.47, 0.55) of the original, its size 0.9 of it.
    assert np.abs(transform - [0.9, -0.06, 0.9, 0.1]).max() < 0.02


def test_the_match_of_a_pair_does_not_depend_on_the_pairs_beside_it(monkeypatch):
    levels = np.stack([match_image(photograph(seed)) for seed in range(9)])
    copies = np.stack([match_image(crop(photograph(seed), 0.1, 0.02, 0, 0.1)) for seed in range(9)])
    a, b = np.concatenate([copies, copies[::-1]]), np.concatenate([levels, levels])
    expected = matches(a, b, mirrored=True).match
    monkeypatch.setattr(local_match, "PAIRS_AT_ONCE", 5)
    assert (matches(a, b, mirrored=True).match == expected).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 12), st.integers(1, 5), st.floats(-1, 1))
def test_nearest_tests_are_those_of_exact_integer_products(seed, n, m, count, min_similarity):
    rng = np.random.default_rng(seed)
    training = rounded_vectors(rng.normal(size=(n, 7)).astype(np.float16))
    test = rounded_vectors(np.concatenate([rng.normal(size=(m, 7)), training[:2]]).astype(np.float16))
    products = training.astype(object) @ test.astype(object).T
    expected = [
        (i, j)
        for i in range(n)
        for j in sorted(sorted(range(len(test)), key=lambda j: (-products[i, j], j))[:count])
        if products[i, j] >= min_similarity * SCALE * SCALE
    ]
    assert list(zip(*nearest_tests(training, test, count, min_similarity), strict=True)) == expected


def test_float32_holds_every_partial_sum_of_a_product():
    vectors = rounded_vectors(np.random.default_rng(0).normal(size=(50, 4096)))
    norms = np.sqrt((vectors.astype(np.int64) ** 2).sum(axis=1))
    assert norms.max() ** 2 < 2**24
    assert (rounded_vectors(np.zeros((2, 3))) == 0).all()
