import dataclasses
import io
from collections.abc import Callable
from fractions import Fraction
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pipeline.ingest import area_resize
from pipeline.ingest.decode import DecodedImage, decode
from pipeline.ingest.fingerprint import fingerprint
from pipeline.ingest.geometry import crop_and_size, jpeg_reduction
from pipeline.ingest.normalize import encode, normalize
from pipeline.ingest.pixels import pixels_of
from pipeline.ingest.process_image import process_image
from pipeline.ingest_config import PRESETS, IngestConfig
from pipeline.rejections import Rejected

Draw = Callable[[int, int, int], Image.Image]
Encode = Callable[..., bytes]


def normalized(picture: Image.Image, config: IngestConfig) -> Image.Image:
    decoded = DecodedImage(pixels_of(picture), "PNG", *picture.size, 1, 1, False)
    return normalize(decoded, config).convert("RGB")


def stripes() -> Image.Image:
    """Return an image of 30×10: left third red, middle green, right blue."""
    picture = Image.new("RGB", (30, 10))
    for i, color in enumerate(("red", "lime", "blue")):
        picture.paste(color, (10 * i, 0, 10 * i + 10, 10))
    return picture


def test_crop_keeps_the_center() -> None:
    config = IngestConfig(size=10, resize="crop")
    assert (np.asarray(normalized(stripes(), config)) == [0, 255, 0]).all()
    assert (
        np.asarray(normalized(stripes().transpose(Image.Transpose.ROTATE_90), config)) == [0, 255, 0]
    ).all()


def test_exact_scales_the_whole_image() -> None:
    result = np.asarray(normalized(stripes(), IngestConfig(size=9, min_side=3, resize="exact")))
    assert [tuple(result[4, x]) for x in (1, 4, 7)] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


SIZES = [(64, 64), (100, 50), (50, 100), (20, 10), (10, 20), (32, 32), (8, 500), (33, 31)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("resample", ["area", "lanczos"])
def test_sizes_follow_the_rule(smooth: Draw, size: tuple[int, int], resample: str) -> None:
    def sized(rule: str) -> tuple[int, int]:
        config = IngestConfig(size=32, resize=rule, resample=resample)  # type: ignore[arg-type]
        return normalized(smooth(0, *size), config).size

    assert sized("exact") == sized("crop") == (32, 32)
    assert sized("none") == size
    assert sized("fit") == tuple(max(1, round(side * 32 / max(size))) for side in size)


def test_an_image_of_the_configured_size_keeps_its_pixels(smooth: Draw) -> None:
    for rule in ("exact", "crop", "fit", "none"):
        result = normalized(smooth(0, 32, 32), IngestConfig(size=32, resize=rule))  # type: ignore[arg-type]
        assert (np.asarray(result) == np.asarray(smooth(0, 32, 32))).all()


def test_the_area_filter_averages(smooth: Draw) -> None:
    picture = smooth(0, 64, 64)
    means = np.asarray(picture, float).reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
    result = np.asarray(normalized(picture, IngestConfig(size=16, resize="exact")), float)
    assert abs(result - means).max() <= 1


def covered(pixels: np.ndarray, first: Fraction, last: Fraction, count: int) -> np.ndarray:
    """Return the means of `count` equal parts of first…last along the first axis, computed with fractions."""
    step, means = (last - first) / count, []
    for i in range(count):
        low, high = first + i * step, first + (i + 1) * step
        share = [max(Fraction(0), min(high, j + 1) - max(low, j)) for j in range(len(pixels))]
        means.append(sum(row * part for row, part in zip(pixels, share, strict=True) if part) / step)
    return np.array(means)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.integers(8, 40), st.integers(8, 40), st.integers(3, 8), st.sampled_from(["exact", "crop", "fit"]))
def test_the_area_filter_counts_parts_of_pixels(width: int, height: int, size: int, rule: str) -> None:
    pixels = np.random.default_rng(width * height).integers(0, 256, (height, width, 3))
    config = IngestConfig(size=size, min_side=1, resize=rule)  # type: ignore[arg-type]
    result = normalized(Image.fromarray(pixels.astype(np.uint8)), config)
    side = min(width, height) if rule == "crop" else None
    x, y = (Fraction(whole - (side or whole), 2) for whole in (width, height))
    exact = pixels.astype(object)
    rows = covered(exact, y, y + (side or height), result.height)
    columns = covered(rows.transpose(1, 0, 2), x, x + (side or width), result.width).transpose(1, 0, 2)
    assert np.asarray(result).tolist() == [[[round(v) for v in p] for p in line] for line in columns]


@pytest.mark.parametrize(
    ("width", "height", "new"),
    [
        (250, 188, (112, 84)),
        (256, 192, (128, 96)),
        (500, 375, (299, 224)),
        (362, 182, (181, 91)),
        (2904, 2910, (5, 7)),
    ],
)
def test_the_area_filter_is_exact_in_each_of_its_number_types(
    width: int, height: int, new: tuple[int, int]
) -> None:
    """Sums of 24, 31 and more bits, against integers; the values are few, so that many means are halves."""
    pixels = np.random.default_rng(width).choice([0, 1, 254, 255], (height, width, 4)).astype(np.uint8)

    def shares(old: int, count: int) -> np.ndarray:
        i, j = np.indices((count, old), float)  # integers below 2^53
        return np.maximum(0, np.minimum((i + 1) * old, (j + 1) * count) - np.maximum(i * old, j * count))

    rows = np.tensordot(shares(height, new[1]), pixels.astype(float), 1)
    sums = np.tensordot(rows, shares(width, new[0]), (1, 1)).transpose(0, 2, 1).astype(int)
    low, rest = np.divmod(sums, width * height)
    exact = low + ((2 * rest > width * height) | ((2 * rest == width * height) & (low % 2 == 1)))
    result = area_resize.resize_by_area(pixels, (0, 0, width, height), new)
    assert (result == exact).all()


def test_the_area_filter_equals_opencv() -> None:
    y, x, c = np.indices((375, 500, 3))
    pixels = ((x * x * 7 + 13 * x * y + 31 * c * y + y * y) // 5 % 256).astype(np.uint8)
    result = normalized(Image.fromarray(pixels), IngestConfig(**PRESETS["tfds"]))
    # cv2.resize(pixels, (84, 84), interpolation=cv2.INTER_AREA) of OpenCV 5.0.0
    assert sha256(result.tobytes()).hexdigest() == (
        "a3df822cba6c494ac486632ff849ca5c97bc0e4f6e07e99449ee9e1414e6572d"
    )


def test_processing_in_strips_gives_the_same_pixels(smooth: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    config = IngestConfig(size=32)
    whole = normalized(smooth(0, 301, 203), config)
    monkeypatch.setattr(area_resize, "_STRIP", 1)
    assert normalized(smooth(0, 301, 203), config) == whole


def test_sums_of_a_huge_image_do_not_overflow() -> None:
    assert set(normalized(Image.new("RGB", (5000, 4000), "white"), IngestConfig(size=64)).tobytes()) == {255}


# Scaled decoding


def photo(seed: int, width: int, height: int) -> Image.Image:
    """Return blobs with finer and finer detail, like photographs."""
    rng, sum_ = np.random.default_rng(seed), np.zeros((height, width, 3))
    for cells, strength in ((4, 70), (16, 40), (60, 20), (200, 8)):
        detail = Image.fromarray(rng.integers(0, 256, (cells, cells, 3)).astype(np.uint8))
        sum_ += (
            strength
            / 64
            * (np.asarray(detail.resize((width, height), Image.Resampling.BICUBIC), float) - 128)
        )
    return Image.fromarray((sum_ + 128).clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def photos() -> list[bytes]:
    """Return JPEGs of four shapes and all orientations, some of them progressive."""
    files = []
    for seed in range(20):
        file, shape = io.BytesIO(), [(500, 375), (375, 500), (801, 667), (640, 123)][seed % 4]
        turned = exif({0x0112: seed % 8 + 1})
        photo(seed, *shape).save(file, "JPEG", quality=85, exif=turned, progressive=seed % 3 == 0)
        files.append(file.getvalue())
    return files


@pytest.mark.parametrize(("size", "resample"), [(32, "area"), (84, "area"), (84, "lanczos"), (224, "area")])
def test_scaled_decoding_changes_pixels_by_less_than_40_db(
    photos: list[bytes], size: int, resample: str
) -> None:
    exact = IngestConfig(size=size, resample=resample, scaled_decoding=False)  # type: ignore[arg-type]
    scaled = dataclasses.replace(exact, scaled_decoding=True)
    there = [normalize(decode(data, exact), exact).convert("RGB") for data in photos]
    here = [normalize(decode(data, scaled), scaled).convert("RGB") for data in photos]
    for one, other in zip(here, there, strict=True):
        error = np.mean((np.asarray(one, float) - np.asarray(other, float)) ** 2)
        assert error < 255**2 / 10**4  # 40 dB
    assert np.bitwise_count(fingerprint(here).short ^ fingerprint(there).short).max() <= 4


def exif(values: dict[int, int]) -> Image.Exif:
    block = Image.Exif()
    block.update(values)
    return block


@pytest.mark.parametrize("resize", ["exact", "crop", "fit", "none"])
@pytest.mark.parametrize("shape", [(16, 16), (500, 375), (63, 1000), (4000, 9)])
def test_a_jpeg_is_decoded_at_twice_the_needed_size_or_more(shape: tuple[int, int], resize: str) -> None:
    for size in (8, 31, 84):
        config = IngestConfig(size=size, resize=resize)  # type: ignore[arg-type]
        (left, top, right, bottom), wanted = crop_and_size(*shape, config)
        part = jpeg_reduction(*shape, config)
        assert part == 1 or min((right - left) / part / wanted[0], (bottom - top) / part / wanted[1]) >= 2


def test_a_large_jpeg_is_decoded_at_an_eighth(encoded: Encode) -> None:
    data = encoded(photo(0, 1600, 1201), "JPEG")
    result = decode(data, IngestConfig(size=32))
    assert (result.reduction, result.pixels.shape, result.width, result.height) == (
        8,
        (151, 200, 4),
        1600,
        1201,
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orienting_the_result_equals_orienting_the_image(encoded: Encode, orientation: int) -> None:
    data = encoded(photo(1, 99, 70), "JPEG", exif=exif({0x0112: orientation}))
    with Image.open(io.BytesIO(data)) as opened:
        upright = ImageOps.exif_transpose(opened).convert("RGB")
    for resize in ("exact", "crop", "fit", "none"):
        config = IngestConfig(size=24, resize=resize, scaled_decoding=False)  # type: ignore[arg-type]
        result = normalize(decode(data, config), config).convert("RGB")
        assert result.tobytes() == normalized(upright, config).tobytes()


# Encoding


@pytest.mark.parametrize(("name", "kind"), [("jpeg", "JPEG"), ("png", "PNG"), ("webp", "WEBP")])
def test_images_are_encoded_as_configured(smooth: Draw, name: str, kind: str) -> None:
    data = encode(smooth(0, 32, 32), IngestConfig(format=name))  # type: ignore[arg-type]
    result = Image.open(io.BytesIO(data))
    assert (result.format, result.size) == (kind, (32, 32))
    error = abs(np.asarray(result.convert("RGB"), float) - np.asarray(smooth(0, 32, 32), float))
    assert error.mean() <= (0 if name == "png" else 6)
    assert encode(smooth(0, 32, 32), IngestConfig(format=name)) == data  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["jpeg", "png", "webp"])
def test_no_metadata_of_the_original_survives(smooth: Draw, encoded: Encode, name: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "MyCamera-GPS"
    original = encoded(
        smooth(0, 32, 32), "JPEG", exif=exif, comment=b"MyComment", icc_profile=b"MyProfile" * 20
    )
    config = IngestConfig(size=32, format=name)  # type: ignore[arg-type]
    data = encode(normalize(decode(original, config), config), config)
    assert not [word for word in (b"MyCamera", b"MyComment", b"MyProfile") if word in data]
    assert not Image.open(io.BytesIO(data)).info.keys() & {"exif", "comment", "icc_profile", "xmp"}


def test_a_lower_quality_makes_a_smaller_file(smooth: Draw) -> None:
    low, high = (len(encode(smooth(0, 64, 64), IngestConfig(quality=q))) for q in (20, 95))
    assert low < high


@pytest.mark.parametrize(("width", "kind"), [(16_384, "webp"), (65_501, "jpeg")])
def test_a_side_longer_than_the_format_allows_is_a_rejection(width: int, kind: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (width, 8)).save(file, "PNG")
    with pytest.raises(Rejected, match="too_many_pixels") as caught:
        process_image(file.getvalue(), dataclasses.replace(IngestConfig(resize="none"), format=kind))
    assert f"{width}×8 cannot be stored as {kind}" in caught.value.detail
