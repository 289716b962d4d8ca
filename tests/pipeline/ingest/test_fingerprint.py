from collections.abc import Callable

import imagehash
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageFilter
from scipy import fft, ndimage

from pipeline.ingest.fingerprint import Fingerprints, fingerprint
from schemas.image import IMAGES

Draw = Callable[[int, int, int], Image.Image]


@pytest.fixture
def pictures(smooth: Draw) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    result = [smooth(seed, 32 + seed, 64 - seed) for seed in range(30)]
    result += [
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8).astype(np.uint8)) for _ in range(10)
    ]
    ramp = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    result += [Image.fromarray(ramp), Image.fromarray(ramp.T.copy()), Image.linear_gradient("L")]
    result += [
        Image.radial_gradient("L"),
        Image.radial_gradient("L").convert("RGBA"),
        Image.effect_noise((99, 7), 50),
    ]
    result += [
        Image.new("RGB", (size, 20), color) for size in (8, 20, 400) for color in ("black", "white", "#123")
    ]
    result += [Image.fromarray(np.indices((64, 64)).sum(axis=0).astype(np.uint8) % 2 * 255)]
    return result


def test_hashes_equal_those_of_imagehash(pictures: list[Image.Image]) -> None:
    prints = fingerprint(pictures)
    assert [f"{value:016x}" for value in prints.short.tolist()] == [str(imagehash.phash(p)) for p in pictures]
    assert [row.tobytes().hex() for row in prints.long] == [
        str(imagehash.phash(p, hash_size=16, highfreq_factor=2)) for p in pictures
    ]


def test_a_batch_equals_single_images(pictures: list[Image.Image]) -> None:
    whole = fingerprint(pictures)
    single = Fingerprints.join([fingerprint([picture]) for picture in pictures])
    assert [whole.columns(i) for i in range(len(pictures))] == [
        single.columns(i) for i in range(len(pictures))
    ]


def test_no_images_give_no_fingerprints() -> None:
    none = fingerprint([])
    assert (none.short.shape, none.long.shape, none.contrast.shape, none.sharpness.shape) == (
        (0,), (0, 32), (0,), (0,),
    )  # fmt: skip


def test_columns_are_those_of_the_image_table(pictures: list[Image.Image]) -> None:
    prints = fingerprint(pictures)
    assert prints.columns(0).keys() == {
        "phash", "phash_orientations", "phash_256", "contrast", "sharpness", "thumbnail"
    }  # fmt: skip
    for name, value in prints.columns(0).items():
        assert pa.scalar(value, IMAGES.schema.field(name).type).as_py() == (
            pytest.approx(value) if isinstance(value, float) else value
        )


def test_contrast_is_the_deviation_of_the_low_frequencies() -> None:
    gray = np.random.default_rng(0).integers(0, 256, (32, 32), np.uint8)
    low = fft.dctn(gray.astype(float), norm="ortho")
    low[8:], low[:, 8:] = 0, 0
    expected = fft.idctn(low, norm="ortho").std()
    assert fingerprint([Image.fromarray(gray)]).contrast[0] == pytest.approx(expected, abs=1e-3)
    assert fingerprint([Image.new("RGB", (50, 40), "#807060")]).contrast[0] == 0


def test_sharpness_is_the_variance_of_the_laplacian_and_falls_with_blur(smooth: Draw) -> None:
    picture = smooth(3, 60, 50).convert("L")
    gray = np.asarray(picture).astype(float)
    expected = ndimage.convolve(gray, [[0, -1, 0], [-1, 4, -1], [0, -1, 0]])[1:-1, 1:-1].var()
    assert fingerprint([picture]).sharpness[0] == pytest.approx(expected, rel=1e-6)
    noisy = Image.effect_noise((300, 300), 60)
    values = fingerprint([noisy, noisy.filter(ImageFilter.GaussianBlur(1)), Image.new("L", (2, 9))]).sharpness
    assert values[0] > 10 * values[1] > 0 == values[2]
