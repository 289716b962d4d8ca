"""Different images with near hashes are not near-duplicates; real copies are still found."""

import io
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.config import DedupeConfig
from pipeline.dedupe.groups import find_duplicates
from pipeline.dedupe.leaks import find_leaks
from pipeline.dedupe.neighbors import HashPairs, distinct_hashes, near_pairs
from pipeline.dedupe.thumbnail_check import ThumbnailCheck
from pipeline.ingest.fingerprint import Fingerprints, fingerprint
from pipeline.ingest.process_image import process_image
from pipeline.ingest_config import IngestConfig
from schemas.duplicate import ORIENTATIONS
from tests.pipeline.dedupe import drawn_images
from tests.pipeline.dedupe.samples import PILLOW_TRANSPOSES


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def prints_of(files: list[bytes], size: int, kind: str = "jpeg") -> Fingerprints:
    config = IngestConfig(size=size, resize="exact", format=kind)  # type: ignore[arg-type]
    stored = [Image.open(io.BytesIO(process_image(data, config).encoded)) for data in files]
    return fingerprint(stored)


def pairs(prints: Fingerprints, orientations: str = "none") -> list[tuple[str, str]]:
    frame = pd.DataFrame(
        {"image_id": f"{i:03d}", "source": "web", "width": 60, "height": 60, "bytes_in": 9, "sha256": str(i)}
        | prints.columns(i)
        for i in range(len(prints.short))
    ).astype({"phash": np.uint64})
    hashes, repeats = distinct_hashes(prints.short)
    near = HashPairs.join([near_pairs(hashes, 8), repeats])
    result = find_duplicates(frame, near, DedupeConfig(orientations=orientations))[0].to_pylist()
    return [(row["image_id"], row["keeper_id"]) for row in result]


UNLIKE: dict[str, Callable[[], list[Image.Image]]] = {
    "flags": drawn_images.flags,
    "large letters": lambda: drawn_images.letters(90, corner=False),
    "small letters": lambda: drawn_images.letters(20, corner=False),
    "icons": drawn_images.icons,
    "line drawings": drawn_images.drawings,
    "one form in many colors": drawn_images.shirts,
}


@pytest.mark.parametrize("name", UNLIKE)
@pytest.mark.parametrize(("size", "kind"), [(32, "png"), (64, "jpeg")])
def test_different_images_with_near_hashes_are_not_duplicates(name: str, size: int, kind: str) -> None:
    prints = prints_of([saved(image) for image in UNLIKE[name]()], size, kind)
    assert pairs(prints) == []
    assert len(find_leaks(prints, np.arange(len(prints.short)) % 2 == 0, DedupeConfig())) == 0


def test_small_letters_in_a_corner_are_distinguished_except_for_one_pair() -> None:
    prints = prints_of([saved(image) for image in drawn_images.letters(20, corner=True)], 64)
    i, j = np.triu_indices(26, 1)
    assert (np.bitwise_count(prints.short[i] ^ prints.short[j]) <= 8).sum() > 100
    assert len(pairs(prints)) <= 1  # O and Q


COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG 50": lambda image: saved(image, "JPEG", quality=50),
    "WebP": lambda image: saved(image, "WEBP", quality=75),
    "half the size": lambda image: saved(image.resize((image.width // 2, image.height // 2))),
    "twice the size": lambda image: saved(image.resize((image.width * 2, image.height * 2))),
}


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("draw", [drawn_images.icons, drawn_images.drawings])
def test_altered_copies_of_drawn_images_are_found(
    draw: Callable[[int], list[Image.Image]], copy: str
) -> None:
    images = draw(20)
    prints = prints_of([*map(saved, images), *map(COPIES[copy], images)], 64)
    result = {tuple(sorted(pair)) for pair in pairs(prints)}
    assert result == {(f"{i:03d}", f"{i + 20:03d}") for i in range(20)}


def photo(seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), np.uint8).astype(np.uint8)
    return Image.fromarray(noise).resize((96, 96), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(("gamma", "gray"), [(0.7, False), (1.4, False), (1.0, True)])
def test_gray_copies_and_copies_with_another_gamma_are_found(gamma: float, gray: bool) -> None:
    images = [photo(seed) for seed in range(12)]
    levels = [round(255 * (i / 255) ** gamma) for i in range(256)]
    copies = [image.convert("L") if gray else image for image in images]
    copies = [copy.point(levels * len(copy.getbands())) for copy in copies]
    assert len(pairs(prints_of([saved(image) for image in [*images, *copies]], 64))) == 12


def test_agreement_is_symmetric_and_reflexive() -> None:
    images = [
        *drawn_images.flags(),
        *drawn_images.icons(20),
        *drawn_images.letters(40, False),
        *(photo(i) for i in range(20)),
    ]
    thumbnails = ThumbnailCheck(fingerprint(images).thumbnails)
    every = np.arange(len(images))
    assert thumbnails.agree(every, every).all()
    i, j = np.triu_indices(len(images), 1)
    assert (thumbnails.agree(i, j) == thumbnails.agree(j, i)).all()
    assert not thumbnails.is_weak[-20:].any()
    assert thumbnails.is_weak[: len(drawn_images.flags())].all()


@pytest.mark.parametrize("orientation", PILLOW_TRANSPOSES)
def test_an_oriented_copy_agrees_in_its_orientation_only(orientation: str) -> None:
    images = [*drawn_images.letters(90, corner=True)[:12], *(photo(i) for i in range(12))]
    copies = [image.transpose(PILLOW_TRANSPOSES[orientation]) for image in images]
    thumbnails = ThumbnailCheck(fingerprint([*images, *copies]).thumbnails)
    every, none = np.arange(24), np.zeros(24, np.int64)
    for i, name in enumerate(ORIENTATIONS):
        result = thumbnails.agree_oriented(every, every + 24, none + i, none)
        assert result.all() == (name == orientation)
