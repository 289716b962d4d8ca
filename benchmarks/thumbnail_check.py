"""Precision and recall of near-duplicates: by hashes alone, with colorhash, and with the thumbnail check.

    python -m benchmarks.thumbnail_check
    python -m benchmarks.thumbnail_check --pictures clothing=DIR cifar=DIR --size clothing=224 cifar=32 --count 300

Drawn pictures (tests/pipeline/dedupe/drawn_images.py) are all different. Each picture is altered as copies on the web are, and
goes through the pipeline's own decoding and encoding. Recall is the share of (original, copy) pairs that are found.
False pairs are those among the originals; folders may hold real ones, so look at what is listed.
"""

import argparse
import random
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image

from benchmarks.calibrate import TRANSFORMS, as_stored
from pipeline.config import DedupeConfig
from pipeline.dedupe.confirm import confirm_pairs
from pipeline.dedupe.neighbors import HashPairs, distinct_hashes, near_pairs
from pipeline.dedupe.thumbnail_check import ThumbnailCheck
from pipeline.ingest.fingerprint import Fingerprints, fingerprint
from pipeline.ingest_config import IngestConfig
from tests.pipeline.dedupe import drawn_images

COPIES = (
    "JPEG 75", "JPEG 30", "WebP 75", "scaled ×½", "scaled ×2", "text over it", "gamma 0.7", "gray", "cropped 5 %",
)  # fmt: skip
COLORHASH_BITS = 8  # of 42: what photographs differ by when they are saved again as JPEG 30
DRAWN: dict[str, Callable[[], list[Image.Image]]] = {
    "flags": drawn_images.flags,
    "large letters": lambda: drawn_images.letters(90, corner=False),
    "small letters": lambda: drawn_images.letters(20, corner=False),
    "small letters in a corner": lambda: drawn_images.letters(20, corner=True),
    "icons": drawn_images.icons,
    "line drawings": drawn_images.drawings,
    "one form in many colors": drawn_images.shirts,
}
Rule = Callable[[np.ndarray, np.ndarray], np.ndarray]


def found(prints: Fingerprints, rule: Rule) -> set[tuple[int, int]]:
    """The pairs that both hashes and a rule confirm."""
    config = DedupeConfig()
    sharp = np.flatnonzero(prints.contrast >= config.min_contrast)
    hashes, repeats = distinct_hashes(prints.short[sharp])
    near = HashPairs.join([near_pairs(hashes, config.radius), repeats])
    pairs, _ = confirm_pairs(
        prints.short[sharp], prints.long[sharp], near, config.confirm_radius, lambda a, b: rule(sharp[a], sharp[b])
    )  # fmt: skip
    return set(zip(sharp[pairs.a].tolist(), sharp[pairs.b].tolist(), strict=True))


def measure(name: str, pictures: list[Image.Image], size: int) -> None:
    """Print the lines of one set of images, by rule."""
    config = IngestConfig(size=size, resize="exact", format="png" if size == 32 else "jpeg")
    stored = [as_stored(image, config) for image in pictures]
    copies = [as_stored(TRANSFORMS[copy](image), config) for copy in COPIES for image in pictures]
    prints, n = fingerprint([*stored, *copies]), len(pictures)
    colors = np.stack([imagehash.colorhash(image).hash.ravel() for image in [*stored, *copies]])
    rules: dict[str, Rule] = {
        "hashes alone": lambda a, _: np.ones(len(a), bool),
        "colorhash": lambda a, b: (colors[a] != colors[b]).sum(axis=1) <= COLORHASH_BITS,
        "thumbnails": ThumbnailCheck(prints.thumbnails).agree,
    }
    for rule, agrees in rules.items():
        originals = Fingerprints(*(getattr(prints, field.name)[:n] for field in fields(prints)))
        false = found(originals, agrees)
        recall = []
        for copy in range(len(COPIES)):
            start = n * (1 + copy)
            pairs = [(i, start + i) for i in range(n)]
            a, b = np.array(pairs).T
            near = np.bitwise_count(prints.short[a] ^ prints.short[b]) <= DedupeConfig.radius
            bits = np.bitwise_count(prints.long[a] ^ prints.long[b]).sum(axis=1)
            sharp = np.minimum(prints.contrast[a], prints.contrast[b]) >= DedupeConfig.min_contrast
            recall.append(100 * (near & (bits <= DedupeConfig.confirm_radius) & sharp & agrees(a, b)).mean())
        numbers = " | ".join(f"{share:.1f}" for share in recall)
        print(
            f"| {name}, {n} | {size} | {rule} | {len(false)} of {n * (n - 1) // 2} | {numbers} |", flush=True
        )


def main() -> None:
    """Measure all drawn sets at 64 pixels, and the folders that are given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", nargs="*", default=[], metavar="NAME=DIR")
    parser.add_argument("--size", nargs="*", default=[], metavar="NAME=PIXELS", help="64 unless given")
    parser.add_argument("--count", type=int, default=300, help="pictures drawn from each folder")
    given = parser.parse_args()
    sizes = {name: int(size) for name, size in (item.split("=") for item in given.size)}
    print("| pictures | pixels | rule | false pairs | " + " | ".join(COPIES) + " |")
    print("|---|---:|---|---:|" + "---:|" * len(COPIES))
    for name, draw in DRAWN.items():
        measure(name, draw(), 64)
    for item in given.pictures:
        name, _, folder = item.partition("=")
        paths = sorted(
            path for path in Path(folder).rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png")
        )
        if not paths:
            sys.exit(f"{folder} holds no JPEG or PNG files")
        chosen = random.Random(1).sample(paths, min(given.count, len(paths)))
        measure(name, [Image.open(path).convert("RGB") for path in chosen], sizes.get(name, 64))


if __name__ == "__main__":
    main()
