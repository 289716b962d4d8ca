"""Pictures that only their hashes take for copies are told apart; real copies are still found."""

import io
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.config import DedupeConfig, IngestConfig
from pipeline.dedupe.groups import find_duplicates
from pipeline.dedupe.leaks import find_leaks
from pipeline.dedupe.neighbors import HashPairs, distinct_hashes, near_pairs
from pipeline.dedupe.thumbnail_check import ThumbnailCheck
from pipeline.ingest.fingerprint import Fingerprints, fingerprint
from pipeline.ingest.process_image import process_image
from schemas.duplicate import ORIENTATIONS
from tests.pipeline.dedupe import drawn_images as drawn
from tests.pipeline.dedupe.test_orientations import BY_PILLOW


def saved(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def prints_of(files: list[bytes], size: int, kind: str = "jpeg") -> Fingerprints:
    config = IngestConfig(size=size, resize="exact", format=kind)  # type: ignore[arg-type]
    stored = [Image.open(io.BytesIO(process_image(data, config).encoded)) for data in files]
    return fingerprint(stored)


def pairs(prints: Fingerprints, orientations: bool = False) -> list[tuple[str, str]]:
    frame = pd.DataFrame(
        {"image_id": f"{i:03d}", "source": "web", "width": 60, "height": 60, "bytes_in": 9, "sha256": str(i)}
        | prints.columns(i)
        for i in range(len(prints.short))
    ).astype({"phash": np.uint64})
    hashes, repeats = distinct_hashes(prints.short)
    near = HashPairs.join([near_pairs(hashes, 8), repeats])
    found = find_duplicates(frame, near, DedupeConfig(orientations=orientations))[0].to_pylist()
    return [(row["image_id"], row["keeper_id"]) for row in found]


UNLIKE: dict[str, Callable[[], list[Image.Image]]] = {
    "flags": drawn.flags,
    "large letters": lambda: drawn.letters(90, corner=False),
    "small letters": lambda: drawn.letters(20, corner=False),
    "icons": drawn.icons,
    "line drawings": drawn.drawings,
    "one form in many colors": drawn.shirts,
}


@pytest.mark.parametrize("name", UNLIKE)
@pytest.mark.parametrize(("size", "kind"), [(32, "png"), (64, "jpeg")])
def test_pictures_that_only_look_alike_to_the_hash_are_no_duplicates(name: str, size: int, kind: str) -> None:
    prints = prints_of([saved(picture) for picture in UNLIKE[name]()], size, kind)
    assert pairs(prints) == []
    assert len(find_leaks(prints, np.arange(len(prints.short)) % 2 == 0, DedupeConfig())) == 0


def test_small_letters_near_a_corner_are_told_apart_but_for_those_that_a_few_pixels_make_one() -> None:
    prints = prints_of([saved(picture) for picture in drawn.letters(20, corner=True)], 64)
    i, j = np.triu_indices(26, 1)
    assert (np.bitwise_count(prints.short[i] ^ prints.short[j]) <= 8).sum() > 100
    assert len(pairs(prints)) <= 1  # O and Q


COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG 50": lambda picture: saved(picture, "JPEG", quality=50),
    "WebP": lambda picture: saved(picture, "WEBP", quality=75),
    "half the size": lambda picture: saved(picture.resize((picture.width // 2, picture.height // 2))),
    "twice the size": lambda picture: saved(picture.resize((picture.width * 2, picture.height * 2))),
}


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("draw", [drawn.icons, drawn.drawings])
def test_altered_copies_of_drawn_pictures_are_still_found(
    draw: Callable[[int], list[Image.Image]], copy: str
) -> None:
    pictures = draw(20)
    prints = prints_of([*map(saved, pictures), *map(COPIES[copy], pictures)], 64)
    found = {tuple(sorted(pair)) for pair in pairs(prints)}
    assert found == {(f"{i:03d}", f"{i + 20:03d}") for i in range(20)}


def photo(seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), np.uint8).astype(np.uint8)
    return Image.fromarray(noise).resize((96, 96), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(("gamma", "gray"), [(0.7, False), (1.4, False), (1.0, True)])
def test_copies_in_gray_or_of_another_gamma_are_still_found(gamma: float, gray: bool) -> None:
    pictures = [photo(seed) for seed in range(12)]
    levels = [round(255 * (i / 255) ** gamma) for i in range(256)]
    copies = [picture.convert("L") if gray else picture for picture in pictures]
    copies = [copy.point(levels * len(copy.getbands())) for copy in copies]
    assert len(pairs(prints_of([saved(picture) for picture in [*pictures, *copies]], 64))) == 12


def test_agreement_is_mutual_and_every_picture_agrees_with_itself() -> None:
    pictures = [*drawn.flags(), *drawn.icons(20), *drawn.letters(40, False), *(photo(i) for i in range(20))]
    thumbnails = ThumbnailCheck(fingerprint(pictures).thumbnails)
    every = np.arange(len(pictures))
    assert thumbnails.agree(every, every).all()
    i, j = np.triu_indices(len(pictures), 1)
    assert (thumbnails.agree(i, j) == thumbnails.agree(j, i)).all()
    assert not thumbnails.is_weak[-20:].any()
    assert thumbnails.is_weak[: len(drawn.flags())].all()


@pytest.mark.parametrize("orientation", BY_PILLOW)
def test_a_turned_copy_agrees_with_the_picture_turned_so_and_in_no_other_way(orientation: str) -> None:
    pictures = [*drawn.letters(90, corner=True)[:12], *(photo(i) for i in range(12))]
    turned = [picture.transpose(BY_PILLOW[orientation]) for picture in pictures]
    thumbnails = ThumbnailCheck(fingerprint([*pictures, *turned]).thumbnails)
    every, none = np.arange(24), np.zeros(24, np.int64)
    for i, name in enumerate(ORIENTATIONS):
        found = thumbnails.agree_oriented(every, every + 24, none + i, none)
        assert found.all() == (name == orientation)
